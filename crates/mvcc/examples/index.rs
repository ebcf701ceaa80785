//! Measures the key index: `cargo run --release -p mvcc --example index [keys]`.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use api::Revision;
use mvcc::index::{KeyIndex, KeyRange, Stored};

fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Time on a processor: machines that measure are seldom idle otherwise.
fn processor_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let mut seed = 11;
    let mut keys: Vec<Vec<u8>> = (0..count)
        .map(|n| {
            format!(
                "/registry/pods/ns-{:04}/deploy-{:08x}-{:016x}-{:07}",
                n % 997,
                noise(&mut seed),
                noise(&mut seed),
                n
            )
            .into_bytes()
        })
        .collect();
    for at in (1..count).rev() {
        keys.swap(at, noise(&mut seed) as usize % (at + 1));
    }
    println!("{count} keys of {} bytes", keys[0].len());
    let report = |what: &str, begun: u64, operations: usize| {
        println!("{what:30} {:7.0} ns", (processor_nanos() - begun) as f64 / operations as f64);
    };

    let before = resident_bytes();
    let index = KeyIndex::new();
    let begun = processor_nanos();
    index.restore(&mut keys.iter().enumerate().map(|(n, key)| {
        let main = n as i64 + 2;
        (key.as_slice(), Revision::new(main, 0), Stored::Put { created: main, version: 1 })
    }));
    report("restore", begun, count);
    println!(
        "{:30} {:7.1} bytes a key",
        "memory",
        (resident_bytes() - before) as f64 / count as f64
    );
    drop(index);

    let before = resident_bytes();
    let index = KeyIndex::new();
    let begun = processor_nanos();
    for (n, key) in keys.iter().enumerate() {
        index.put(key, Revision::new(n as i64 + 2, 0));
    }
    report("insert", begun, count);
    println!(
        "{:30} {:7.1} bytes a key",
        "memory",
        (resident_bytes() - before) as f64 / count as f64
    );

    let mut main = count as i64 + 2;
    let picks: Vec<usize> = (0..count).map(|_| noise(&mut seed) as usize % count).collect();
    let begun = processor_nanos();
    for pick in &picks {
        black_box(keys[*pick].iter().fold(0, |sum: u8, byte| sum ^ byte));
    }
    report("(of this the asker's own key)", begun, count);
    let begun = processor_nanos();
    for pick in &picks {
        black_box(index.get(&keys[*pick], main));
    }
    report("get", begun, count);

    let begun = processor_nanos();
    for pick in &picks {
        main += 1;
        black_box(index.put(&keys[*pick], Revision::new(main, 0)));
    }
    report("update", begun, count);
    println!(
        "{:30} {:7.1} bytes a key",
        "memory",
        (resident_bytes() - before) as f64 / count as f64
    );

    let begun = processor_nanos();
    for pick in &picks[..count / 10] {
        index.range(KeyRange::of(&keys[*pick], b"\0"), main, 100, &mut |key, found| {
            black_box((key, found));
            ControlFlow::Continue(())
        });
    }
    report("range of 100 with keys", begun, count / 10);
    let begun = processor_nanos();
    for pick in &picks[..count / 10] {
        index.revisions(KeyRange::of(&keys[*pick], b"\0"), main, 100, &mut |found| {
            black_box(found);
            ControlFlow::Continue(())
        });
    }
    report("range of 100", begun, count / 10);

    let begun = processor_nanos();
    for pick in &picks[..count / 10] {
        black_box(index.count(KeyRange::of(&keys[*pick], b"\0"), main));
    }
    report("count to the end", begun, count / 10);
    let begun = processor_nanos();
    black_box(index.count(KeyRange::of(b"", b"\0"), count as i64 / 2));
    report("count far back, a key", begun, count);

    let begun = processor_nanos();
    let (mut compaction, mut longest) = (index.start_compaction(main), 0);
    loop {
        let slice = Instant::now();
        let done = index.compact_step(&mut compaction, 512);
        longest = longest.max(slice.elapsed().as_micros());
        if done {
            break;
        }
    }
    report("compact, a key", begun, count);
    println!("{:30} {longest:7} us", "longest slice");
    black_box(compaction.into_kept().len());
    println!(
        "{:30} {:7.1} bytes a key",
        "memory",
        (resident_bytes() - before) as f64 / count as f64
    );
}
