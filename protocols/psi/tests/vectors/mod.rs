//! Reads the test vectors of `protocols/vectors`, which the Python tests read too.
#![allow(dead_code, reason = "each test file uses some of it")]

use serde_json::Value;

/// Read one vector file.
pub fn read(name: &str) -> Value {
    let path = format!("{}/../vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the vectors lie beside the crate");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

/// The entries of a list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Bytes written in hexadecimal.
pub fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("a string").as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit");
    digits
        .chunks(2)
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).expect("a byte"))
        .collect()
}

/// Bytes of a fixed length.
pub fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("bytes of this length")
}

/// A list of byte strings.
pub fn strings(value: &Value) -> Vec<Vec<u8>> {
    list(value).iter().map(bytes).collect()
}

/// A list of byte strings of a fixed length.
pub fn arrays<const N: usize>(value: &Value) -> Vec<[u8; N]> {
    list(value).iter().map(array).collect()
}
