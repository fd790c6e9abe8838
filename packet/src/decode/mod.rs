//! Bytes to headers, from the link layer to the innermost transport.
