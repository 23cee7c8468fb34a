//! POSIX extended regular expressions, by the C library's regcomp(3).

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// A compiled expression.
pub struct Pattern(Box<libc::regex_t>);

impl Pattern {
    /// Compiles one; `None` when it isn't an expression.
    pub fn new(text: &CStr) -> Option<Self> {
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::uninit());
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: regcomp writes the whole of `compiled` when it answers 0, and only then is it
        // read; the text ends in a zero.
        unsafe {
            let answer = libc::regcomp(compiled.as_mut_ptr(), text.as_ptr(), flags);
            (answer == 0).then(|| Self(compiled.assume_init()))
        }
    }

    /// Whether it matches anywhere in a text.
    pub fn is_in(&self, text: &CStr) -> bool {
        // SAFETY: compiled by regcomp and not freed; the text ends in a zero; no place for
        // matches is given, and none asked for.
        unsafe { libc::regexec(&raw const *self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        // SAFETY: compiled by regcomp, and freed once.
        unsafe { libc::regfree(&raw mut *self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_posix_and_extended() {
        let pattern = Pattern::new(c"^(a|b)-[[:digit:]]+$").unwrap();
        assert!(pattern.is_in(c"a-12") && pattern.is_in(c"b-0"));
        assert!(!pattern.is_in(c"c-12") && !pattern.is_in(c"a-12x"));
        assert!(Pattern::new(c"(").is_none());
    }
}
