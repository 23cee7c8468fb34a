//! Capability names and numbers, capabilities(7).

pub use dhow_kernel::caps::NAMES;

/// The number of a name (`CAP_CHOWN`).
pub fn number(name: &str) -> Option<u8> {
    NAMES.iter().position(|known| *known == name).map(|n| n as u8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_in_the_kernel_s_order() {
        for cap in caps::all() {
            let name = cap.to_string();
            assert_eq!(super::number(&name), Some(cap.index()), "{name}");
        }
    }
}
