//! `<<NAME`, `<<-NAME`, `<<"NAME"`: lines that follow an instruction and belong to it.

use super::Heredoc;
use crate::build::expand;

/// A heredoc as it is announced: its content is still to come.
pub(super) fn announced(word: &str) -> Result<Option<Heredoc>, String> {
    let text = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(text) = text.strip_prefix("<<") else { return Ok(None) };
    let (chomp, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let text = text.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if text.is_empty() || text.contains('<') {
        return Ok(None);
    }
    let (words, raw) = expand::heredoc_words(text)?;
    let ([name], [raw]) = (words.as_slice(), raw.as_slice()) else { return Ok(None) };
    // A quote that is gone without the quotes was one: the content is to be taken as it is.
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    let expand = quotes(name) == quotes(raw);
    Ok(Some(Heredoc { name: name.clone(), expand, chomp, content: String::new() }))
}

/// All that a line announces, in order.
pub(super) fn of_line(line: &str) -> Result<Vec<Heredoc>, String> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    // A line that the lexer can't read announces nothing: it is for another shell to judge.
    let words = expand::raw_words(line).unwrap_or_default();
    words.iter().filter_map(|word| announced(word).transpose()).collect()
}

/// Without the tabs that its lines begin with.
pub(super) fn chomped(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_announces_one() {
        for (word, name, expand, chomp) in [
            ("<<EOF", "EOF", true, false),
            ("<<-EOF", "EOF", true, true),
            ("<<'EOF'", "EOF", false, false),
            ("<<\"E O F\"", "E O F", false, false),
            ("<<E'O'F", "EOF", false, false),
            ("<<-  EOF", "EOF", true, true),
            ("3<<EOF", "EOF", true, false),
            ("<<a.txt", "a.txt", true, false),
            ("<<E\\OF", "EOF", true, false),
        ] {
            let h = announced(word).unwrap().unwrap();
            assert_eq!((h.name.as_str(), h.expand, h.chomp), (name, expand, chomp), "{word}");
        }
        for word in ["<<", "<<<EOF", "<EOF", "EOF", "x<<EOF", "<<-", "<<A B", "<<A<"] {
            assert_eq!(announced(word), Ok(None), "{word}");
        }
        assert!(announced("<<'EOF").is_err());
    }

    #[test]
    fn a_line_has_several_or_none() {
        let names = |line: &str| -> Vec<String> {
            of_line(line).unwrap().into_iter().map(|h| h.name).collect()
        };
        assert_eq!(names("RUN cat <<A - 4<< B > x"), ["A", "B"]);
        assert_eq!(names("RUN echo \"<<A\" '<<B' \\<<C"), [] as [&str; 0]);
        assert_eq!(names("RUN echo it's <<A"), [] as [&str; 0]);
        assert_eq!(names("RUN echo $((1 << 2))"), ["2))"]);
        assert_eq!(names("RUN echo $((1 << ${N:-2}))"), [] as [&str; 0]);
        assert_eq!(names("RUN cat <<A > \"${N:-2}\""), ["A"]);
        assert_eq!(chomped("\ta\n\t\t b\n\n\tc"), "a\n b\n\nc");
    }
}
