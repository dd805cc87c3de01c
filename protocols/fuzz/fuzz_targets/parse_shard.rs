//! Any bytes as a shard, with any needle: refused or looked up, and verified only if canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use psishare_psi::Error;
use psishare_psi::shard::{Shard, lookup};
use psishare_psi::sorted::FixedRows;

fuzz_target!(|bytes: &[u8]| {
    let (needle, shard) = bytes.split_at(bytes.len().min(11));
    if let Some(needles) = FixedRows::new(needle, 11)
        && let Ok(found) = lookup(&[shard], needles, 84)
    {
        assert_eq!(found.len(), needles.len());
    }
    match Shard::parse(shard) {
        Ok(parsed) => assert!(parsed.verify().is_ok() || parsed.verify() == Err(Error::Shard)),
        Err(error) => assert_eq!(error, Error::Shard),
    }
});
