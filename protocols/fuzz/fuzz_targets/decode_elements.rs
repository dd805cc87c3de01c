//! Any bytes as a frame of elements: answered whole, or refused at the first row that is wrong.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use psishare_psi::ecdh::EcdhScalar;
use psishare_psi::seed::{FIRST_PASS, Seed};
use psishare_psi::{Encoding, Error, is_canonical_element};

static SCALAR: LazyLock<EcdhScalar> = LazyLock::new(|| {
    Seed::from_secret_bytes(&[1; 32]).ecdh_scalar(FIRST_PASS).expect("this seed gives a scalar")
});

fuzz_target!(|bytes: &[u8]| {
    let frame: &[Encoding] = bytes.as_chunks().0;
    let bad = |element: &Encoding| *element == [0; 32] || !is_canonical_element(element);
    match (SCALAR.multiply(frame), frame.iter().position(bad)) {
        (Ok(products), None) => {
            assert_eq!(products.len(), frame.len());
            assert!(products.iter().all(is_canonical_element));
        }
        (Err(error), Some(row)) => assert_eq!(error, Error::Element { row }),
        (answer, bad) => panic!("{answer:?} for a frame whose first bad row is {bad:?}"),
    }
});
