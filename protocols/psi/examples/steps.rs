//! What each step of the protocols costs, in microseconds an item, with each backend.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p psishare-psi --example steps [rows]`
//!
//! The best of many runs is shown, because other work on the machine can only add to it. On a busy
//! machine, give a few hundred rows, which are done before anything else gets the core; the share of
//! a proof is that of a whole frame with 32,768 rows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use psishare_psi::seed::{FIRST_PASS, Seed};
use psishare_psi::{Blinds, backend, oprf, voprf};

const MIN_RUNS: usize = 5;
const MIN_TIME: Duration = Duration::from_secs(1);
const FINGERPRINT_BITS: usize = 84;

fn main() {
    let rows = std::env::args().nth(1).map_or(Ok(32_768), |argument| argument.parse());
    let rows: u32 = rows.expect("the argument is a number of rows");
    println!("{} rows, {} threads, phone numbers", rows, rayon::current_num_threads());
    for portable in [false, true] {
        backend::set_portable(portable);
        println!("{}", backend::name());
        measure(rows);
    }
}

fn measure(rows: u32) {
    let values: Vec<String> = (0..rows).map(|row| format!("phone:+3161{row:07}")).collect();
    let indices: Vec<u64> = (0..u64::from(rows)).collect();
    let seed = Seed::from_secret_bytes(&[1; 32]);
    let blinds = Blinds::derived(&seed, FIRST_PASS, &indices);
    let key = voprf::Key::derive_key_pair(&[2; 32], b"steps").expect("a key");
    let plain = oprf::Key::derive_key_pair(&[2; 32], b"steps").expect("a key");
    let scalar = seed.ecdh_scalar(FIRST_PASS).expect("a scalar");
    let blinded = voprf::blind(&values, &blinds).expect("blinded elements");
    let (evaluated, proof) = key.blind_evaluate(&blinded).expect("evaluated elements");
    let proof = proof.to_bytes();
    let answer =
        voprf::Answer { evaluated: &evaluated, proof: &proof, public_key: key.public_key() };

    step("evaluate", rows, || key.fingerprints(&values, FINGERPRINT_BITS));
    step("blind", rows, || voprf::blind(&values, &blinds));
    step("blind_evaluate, no proof", rows, || plain.blind_evaluate(&blinded));
    step("blind_evaluate", rows, || key.blind_evaluate(&blinded));
    step("finalize", rows, || {
        voprf::finalize(&values, &blinds, &blinded, answer, FINGERPRINT_BITS)
    });
    step("RFC 9497 finalize", rows, || oprf::finalize(&values, &blinds, &evaluated));
    step("ecdh blind", rows, || scalar.blind(&values));
    step("ecdh multiply", rows, || scalar.multiply(&blinded));
    step("order", rows, || seed.order(FIRST_PASS, u64::from(rows)));
}

fn step<T, E: std::fmt::Debug>(name: &str, rows: u32, work: impl Fn() -> Result<T, E>) {
    let mut best = Duration::MAX;
    let mut runs = 0;
    let first = Instant::now();
    while runs < MIN_RUNS || first.elapsed() < MIN_TIME {
        let start = Instant::now();
        black_box(work()).expect("the step succeeds");
        best = best.min(start.elapsed());
        runs += 1;
    }
    println!("  {name:<26}{:>9.3} µs", best.as_secs_f64() * 1e6 / f64::from(rows));
}
