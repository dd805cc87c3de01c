//! What one evaluation costs on one core, from canonical bytes to a fingerprint, with each backend.
//!
//! `cargo run --release -p psishare-psi --example evaluate [rows]`; prints one line of JSON: the backends'
//! names and microseconds an item, the best of some runs. Where there is but one backend, it stands twice.

use std::hint::black_box;
use std::time::{Duration, Instant};

use psishare_psi::{backend, voprf};

const RUNS: u32 = 3;
const FINGERPRINT_BITS: usize = 84;

fn main() {
    let rows = std::env::args().nth(1).map_or(Ok(16_384), |argument| argument.parse());
    let rows: u32 = rows.expect("the argument is a number of rows");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let costs: Vec<String> = [false, true]
        .into_iter()
        .map(|portable| {
            backend::set_portable(portable);
            let cost = pool.install(|| best(rows)).as_secs_f64() * 1e6 / f64::from(rows);
            format!("{{\"backend\": \"{}\", \"us\": {cost:.4}}}", backend::name())
        })
        .collect();
    println!("[{}]", costs.join(", "));
}

fn best(rows: u32) -> Duration {
    let values: Vec<String> = (0..rows).map(|row| format!("phone\0\0+3161{row:07}")).collect();
    let key = voprf::Key::derive_key_pair(&[2; 32], b"evaluate").expect("a key");
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(key.fingerprints(&values, FINGERPRINT_BITS)).expect("fingerprints");
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}
