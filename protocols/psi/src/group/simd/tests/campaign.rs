//! Millions of random rows against `curve25519-dalek`: run by hand and before releases.
//!
//! `PSISHARE_CAMPAIGN_ROWS=4000000 cargo test --release -p psishare-psi campaign -- --ignored`

use rayon::prelude::*;

use super::batch::{check_rows, scalars, uniform};
use crate::group::simd::lanes::Ifma;

const DEFAULT_ROWS: usize = 1_000_000;

#[test]
#[ignore = "takes a minute for a million rows on one core"]
fn campaign_of_random_rows_agrees() {
    let Some(ifma) = Ifma::detect() else { return };
    let rows = std::env::var("PSISHARE_CAMPAIGN_ROWS")
        .map_or(DEFAULT_ROWS, |rows| rows.parse().expect("a number of rows"));
    // A fresh start each time, which a failure names.
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let stream = format!("campaign {}", start.as_nanos());
    println!("{rows} rows of the stream {stream:?}");
    (0..rows.div_ceil(500)).into_par_iter().for_each(|part| {
        let size = 500 - part % 17;
        let stream = format!("{stream} {part}");
        check_rows(ifma, &uniform(&stream, size), &scalars(&format!("k {stream}"), size));
    });
}
