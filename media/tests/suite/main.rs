//! One test program for the crate; each module is one behaviour, its name a sentence.
