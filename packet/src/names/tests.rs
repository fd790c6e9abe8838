use super::*;

#[test]
fn a_domain_s_form_is_a_prefix_of_what_is_below_it_only() {
    let domain = reversed_labels(b"example.com");
    assert!(reversed_labels(b"www.example.com").starts_with(&domain));
    assert!(!reversed_labels(b"www.example.community").starts_with(&domain));
    assert!(!reversed_labels(b"anexample.com").starts_with(&domain));
    assert_eq!(reversed_labels(b""), b"");
}

#[test]
fn names_are_shown_without_harm() {
    assert_eq!(display(b"a.b"), "a.b");
    assert_eq!(display(b"a\x1b[31m \\"), "a\\033[31m\\040\\\\");
}
