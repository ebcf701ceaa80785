//! Metrics as text, as client_golang writes it (format 0.0.4), and as delimited protobuf for scrapers that ask for it.

use super::sample::{Metric, Type, Value};

/// What a scraper is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Protobuf,
}

/// Every metric, one after the other.
pub fn render(metrics: &[Metric], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    for metric in metrics {
        match format {
            Format::Text => text(metric, &mut out),
            Format::Protobuf => put_delimited(&protobuf(metric), &mut out),
        }
    }
    out
}

fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::Counter => "counter",
        Type::Gauge => "gauge",
        Type::Histogram => "histogram",
        Type::Summary => "summary",
    }
}

fn text(metric: &Metric, out: &mut Vec<u8>) {
    let name = metric.name;
    let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
    out.extend_from_slice(format!("# HELP {name} {help}\n# TYPE {name} {}\n", type_name(metric.kind)).as_bytes());
    for sample in &metric.samples {
        let mut line = |suffix: &str, extra: Option<(&str, String)>, value: f64| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
            let labels = sample
                .labels
                .iter()
                .map(|(n, v)| (*n, v))
                .chain(extra.as_ref().map(|(n, v)| (*n, v)));
            for (i, (label, value)) in labels.clone().enumerate() {
                out.push(if i == 0 { b'{' } else { b',' });
                out.extend_from_slice(format!("{label}=\"{}\"", escape(value)).as_bytes());
            }
            if labels.count() > 0 {
                out.push(b'}');
            }
            out.extend_from_slice(format!(" {}\n", float(value)).as_bytes());
        };
        match &sample.value {
            Value::Number(value) => line("", None, *value),
            Value::Histogram { bounds, cumulative, sum } => {
                for (bound, count) in bounds.iter().chain(&[f64::INFINITY]).zip(cumulative) {
                    line("_bucket", Some(("le", float(*bound))), *count as f64);
                }
                line("_sum", None, *sum);
                line("_count", None, cumulative.last().copied().unwrap_or(0) as f64);
            }
            Value::Summary { quantiles, sum, count } => {
                for (quantile, value) in quantiles {
                    line("", Some(("quantile", float(*quantile))), *value);
                }
                line("_sum", None, *sum);
                line("_count", None, *count as f64);
            }
        }
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// A number as Go's `strconv.FormatFloat(value, 'g', -1, 64)` writes it: the shortest digits that read back the same, with an exponent
/// (of two digits at least) below 0.0001 and from a million on.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let shortest = format!("{value:e}");
    let (digits, exponent) = shortest.split_once('e').expect("an exponent form");
    let exponent: i32 = exponent.parse().expect("an exponent");
    if (-4..6).contains(&exponent) || value == 0.0 {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_delimited(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_bytes(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    put_delimited(bytes, out);
}

fn put_double(number: u8, value: f64, out: &mut Vec<u8>) {
    out.push(number << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_varint(number: u8, value: u64, out: &mut Vec<u8>) {
    out.push(number << 3);
    varint(value, out);
}

/// `io.prometheus.client.MetricFamily`
fn protobuf(metric: &Metric) -> Vec<u8> {
    let mut family = Vec::new();
    put_bytes(1, metric.name.as_bytes(), &mut family);
    put_bytes(2, metric.help.as_bytes(), &mut family);
    // Numbers of io.prometheus.client.MetricType, and of the field of Metric that holds the value.
    let (number, field) = match metric.kind {
        Type::Counter => (0, 3),
        Type::Gauge => (1, 2),
        Type::Summary => (2, 4),
        Type::Histogram => (4, 7),
    };
    put_varint(3, number, &mut family);
    for sample in &metric.samples {
        let mut one = Vec::new();
        for (name, value) in &sample.labels {
            let mut pair = Vec::new();
            put_bytes(1, name.as_bytes(), &mut pair);
            put_bytes(2, value.as_bytes(), &mut pair);
            put_bytes(1, &pair, &mut one);
        }
        put_bytes(field, &protobuf_value(&sample.value), &mut one);
        put_bytes(4, &one, &mut family);
    }
    family
}

fn protobuf_value(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Number(value) => put_double(1, *value, &mut out),
        Value::Histogram { bounds, cumulative, sum } => {
            put_varint(1, cumulative.last().copied().unwrap_or(0), &mut out);
            put_double(2, *sum, &mut out);
            // The bucket of all is left out, as in Go.
            for (bound, count) in bounds.iter().zip(cumulative) {
                let mut bucket = Vec::new();
                put_varint(1, *count, &mut bucket);
                put_double(2, *bound, &mut bucket);
                put_bytes(3, &bucket, &mut out);
            }
        }
        Value::Summary { quantiles, sum, count } => {
            put_varint(1, *count, &mut out);
            put_double(2, *sum, &mut out);
            for (quantile, value) in quantiles {
                let mut one = Vec::new();
                put_double(1, *quantile, &mut one);
                put_double(2, *value, &mut one);
                put_bytes(3, &one, &mut out);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn floats_as_go() {
        let pairs = [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (688128.0, "688128"),
            (1048576.0, "1.048576e+06"),
            (1e6, "1e+06"),
            (1.7954401488577166e9, "1.7954401488577166e+09"),
            (18446744073709551615.0, "1.8446744073709552e+19"),
            (9223372036854775807.0, "9.223372036854776e+18"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
            (13.1072, "13.1072"),
        ];
        for (value, text) in pairs {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn as_client_golang() {
        let metrics = Metrics::new(false);
        metrics.mvcc_put_total.add(3);
        metrics.server_range_duration_seconds.with(&["true"]).observe(0.00015);
        metrics.server_feature_enabled.with(&["A\"\\\n", ""]).set(1);
        let all = String::from_utf8(render(&metrics.collect(), Format::Text)).unwrap();
        let wanted = [
            "# HELP etcd_mvcc_put_total Total number of puts seen by this member.\n# TYPE etcd_mvcc_put_total counter\netcd_mvcc_put_total 3\n",
            "etcd_server_range_duration_seconds_bucket{success=\"true\",le=\"0.0001\"} 0\n",
            "etcd_server_range_duration_seconds_bucket{success=\"true\",le=\"0.0002\"} 1\n",
            "etcd_server_range_duration_seconds_bucket{success=\"true\",le=\"+Inf\"} 1\n",
            "etcd_server_range_duration_seconds_sum{success=\"true\"} 0.00015\n",
            "etcd_server_range_duration_seconds_count{success=\"true\"} 1\n",
            "etcd_server_feature_enabled{name=\"A\\\"\\\\\\n\",stage=\"\"} 1\n",
            "grpc_server_started_total{grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 0\n",
            "etcd_debugging_lease_ttl_total_bucket{le=\"1.048576e+06\"} 0\n",
        ];
        for text in wanted {
            assert!(all.contains(text), "{text} is missing in\n{all}");
        }
        assert!(
            !all.contains("etcd_server_client_requests_total"),
            "without a value it is not shown"
        );
        let names: Vec<&str> = all.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    /// A family read back field by field.
    #[test]
    fn as_protobuf() {
        let metrics = Metrics::new(false);
        metrics.mvcc_put_total.add(3);
        let one: Vec<Metric> = metrics.collect().into_iter().filter(|m| m.name == "etcd_mvcc_put_total").collect();
        let bytes = render(&one, Format::Protobuf);
        let mut want = vec![0u8];
        want.extend_from_slice(b"\x0a\x13etcd_mvcc_put_total");
        want.extend_from_slice(b"\x12\x2bTotal number of puts seen by this member.\x18\x00\x22\x0b\x1a\x09\x09");
        want.extend_from_slice(&3f64.to_le_bytes());
        want[0] = u8::try_from(want.len() - 1).unwrap();
        assert_eq!(bytes.len(), want.len());
        assert_eq!(&bytes[..22], &want[..22]);
        assert_eq!(&bytes[bytes.len() - 13..], &want[want.len() - 13..]);
    }
}
