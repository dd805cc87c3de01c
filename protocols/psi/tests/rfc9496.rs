//! RFC 9496, Appendix A: encodings, refusals and the one-way map of ristretto255.

mod vectors;

use psishare_psi::seed::Seed;
use psishare_psi::{Error, is_canonical_element, one_way_map};
use vectors::{array, arrays, list, read};

#[test]
fn multiples_of_the_generator_are_canonical() {
    for encoding in arrays(&read("rfc9496.json")["generator_multiples"]) {
        assert!(is_canonical_element(&encoding));
    }
}

#[test]
fn invalid_encodings_are_refused_and_the_row_is_named() {
    let scalar = Seed::from_secret_bytes(&[7; 32]).ecdh_scalar(0).unwrap();
    let vectors = read("rfc9496.json");
    let good: [u8; 32] = array(&vectors["generator_multiples"][1]);
    for group in list(&vectors["invalid_encodings"]) {
        for encoding in arrays(&group["encodings"]) {
            assert!(!is_canonical_element(&encoding), "{}", group["why"]);
            let mut frame = vec![good; 300];
            frame[277] = encoding;
            assert_eq!(scalar.multiply(&frame).unwrap_err(), Error::Element { row: 277 });
        }
    }
}

#[test]
fn the_one_way_map_gives_the_published_elements() {
    for vector in list(&read("rfc9496.json")["one_way_map"]) {
        let element: [u8; 32] = array(&vector["element"]);
        assert_eq!(one_way_map(&array(&vector["uniform"])), element);
    }
}
