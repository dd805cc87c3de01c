//! Any bytes as a platform's answer (proof, public key, elements): refused, for none can be guessed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use psishare_psi::seed::{FIRST_PASS, Seed};
use psishare_psi::{Blinds, ELEMENT_BYTES, Encoding, Fault, PROOF_BYTES, Proof, voprf};

const VALUES: [&[u8]; 2] = [b"one", b"two"];
const INDICES: [u64; 2] = [0, 1];

static SEED: LazyLock<Seed> = LazyLock::new(|| Seed::from_secret_bytes(&[1; 32]));
static BLINDED: LazyLock<Vec<Encoding>> = LazyLock::new(|| {
    voprf::blind(&VALUES[..], &Blinds::derived(&SEED, FIRST_PASS, &INDICES)).expect("short values")
});

fuzz_target!(|bytes: &[u8]| {
    let (proof, rest) = bytes.split_at(bytes.len().min(PROOF_BYTES));
    if let Ok(parsed) = Proof::from_bytes(proof) {
        assert_eq!(parsed.to_bytes(), proof);
    }
    let Some((public_key, rest)) = rest.split_first_chunk::<ELEMENT_BYTES>() else { return };
    let evaluated: &[Encoding] = rest.as_chunks().0;
    let blinds = Blinds::derived(&SEED, FIRST_PASS, &INDICES);
    let answer = voprf::Answer { evaluated, proof, public_key };
    let refused = voprf::finalize(&VALUES[..], &blinds, &BLINDED, answer, 80)
        .expect_err("no bytes pass for a proof");
    assert_eq!(refused.fault(), Fault::Peer);
});
