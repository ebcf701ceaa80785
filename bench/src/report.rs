//! What one round gave, and the table of ratios: medians over the rounds, with the spread beside them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::process::Side;

/// The figures of one scenario on one side in one round. What a scenario has no figure for stays `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub per_second: Option<f64>,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
    pub p999: Option<Duration>,
    pub longest: Option<Duration>,
    /// Server CPU per operation (or per returned key, per event).
    pub cpu: Option<Duration>,
    pub took: Option<Duration>,
    pub rss_anon: Option<u64>,
    pub peak: Option<u64>,
}

const NAMES: [&str; 9] = [
    "per second",
    "p50 us",
    "p99 us",
    "p999 us",
    "longest us",
    "cpu us/op",
    "took ms",
    "RssAnon MiB",
    "VmHWM MiB",
];

impl Figures {
    fn values(&self) -> [Option<f64>; 9] {
        let micros = |time: Option<Duration>| time.map(|t| t.as_secs_f64() * 1e6);
        let mib = |bytes: Option<u64>| bytes.map(|b| b as f64 / f64::from(1 << 20));
        [
            self.per_second,
            micros(self.p50),
            micros(self.p99),
            micros(self.p999),
            micros(self.longest),
            micros(self.cpu),
            self.took.map(|t| t.as_secs_f64() * 1e3),
            mib(self.rss_anon),
            mib(self.peak),
        ]
    }
}

/// All that was measured in a run.
#[derive(Default)]
pub struct Report {
    rounds: BTreeMap<(usize, String), Vec<(Figures, Figures)>>,
    order: Vec<String>,
}

impl Report {
    /// Takes the figures of one round. `figures` must hold Go's and ours, in the order they ran.
    pub fn add(&mut self, scenario: &str, figures: [(Side, Figures); 2]) {
        let place = self.order.iter().position(|name| name == scenario).unwrap_or_else(|| {
            self.order.push(scenario.to_owned());
            self.order.len() - 1
        });
        let of = |side: Side| figures.iter().find(|(s, _)| *s == side).map(|(_, f)| *f).unwrap_or_default();
        self.rounds
            .entry((place, scenario.to_owned()))
            .or_default()
            .push((of(Side::Go), of(Side::Ours)));
    }

    /// Prints a line for each figure: both medians, the median of the rounds' ratios, the lowest and the highest.
    pub fn print(&self) {
        println!(
            "{:<34} {:<12} {:>12} {:>12} {:>7}  spread",
            "scenario", "figure", "Go", "Quorate", "ratio"
        );
        for ((_, scenario), rounds) in &self.rounds {
            for (place, name) in NAMES.iter().enumerate() {
                let pairs: Vec<(f64, f64)> = rounds
                    .iter()
                    .filter_map(|(go, ours)| Some((go.values()[place]?, ours.values()[place]?)))
                    .collect();
                if pairs.is_empty() {
                    continue;
                }
                let ratios: Vec<f64> = pairs.iter().map(|(go, ours)| ours / go).collect();
                println!(
                    "{scenario:<34} {name:<12} {:>12.1} {:>12.1} {:>6.2}x  {:.2}-{:.2}",
                    median(pairs.iter().map(|p| p.0)),
                    median(pairs.iter().map(|p| p.1)),
                    median(ratios.iter().copied()),
                    ratios.iter().copied().fold(f64::INFINITY, f64::min),
                    ratios.iter().copied().fold(0.0, f64::max),
                );
            }
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
