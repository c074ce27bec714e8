//! The stores without a directory pass the suite.
#![allow(clippy::unwrap_used, missing_docs)]

use mailwright_mailstore::memory::Memory;
use mailwright_mailstore::{AnyStore, block_on, conformance};

#[test]
fn memory_conforms() {
    let report = block_on(conformance::check(&Memory::new())).unwrap();
    assert_eq!(report.skipped, [""; 0]);
}

#[test]
fn any_store_conforms() {
    let report = block_on(conformance::check(&AnyStore::new(Memory::new()))).unwrap();
    assert_eq!(report.skipped, [""; 0]);
    assert!(report.passed.len() > 20);
}
