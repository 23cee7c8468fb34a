use super::*;
use proptest::prelude::*;

fn ignore(text: &str) -> Ignore {
    Ignore::parse(text.as_bytes(), ".dockerignore").unwrap()
}

#[test]
fn a_file_is_read_as_docker_reads_it() {
    let text = "\u{feff}# comment\n  a \n\n!  b/ \n/c/../d\r\n #no comment\n./e//f/";
    let ignore = ignore(text);
    let texts: Vec<(bool, String)> = ignore
        .patterns
        .iter()
        .map(|p| (p.exception, String::from_utf8(p.text().to_vec()).unwrap()))
        .collect();
    let want = [(false, "a"), (true, "b"), (false, "d"), (false, "#no comment"), (false, "e/f")];
    assert_eq!(texts, want.map(|(exception, text)| (exception, text.to_owned())));
    for bad in ["!", "a\n[", "x\\", "[]", "! "] {
        let error = Ignore::parse(bad.as_bytes(), "F").unwrap_err().to_string();
        assert!(error.starts_with("invalid F: line"), "{error}");
    }
}

#[test]
fn as_moby_matches() {
    for (patterns, path, want) in [
        ("**", "file", true),
        ("**", "dir/file", true),
        ("**/", "file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/*", "dir/dir2/dir2/file", true),
        ("**file", "dir/file", true),
        ("**file", "dir/xfile", true),
        ("**/file", "file", true),
        ("**/file", "dir/xfile", false),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("**/*.txt", "file.txt", true),
        ("a**/*.txt", "a/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt", "a/file.txt", true),
        ("a[b-d]e", "ace", true),
        ("a\\*b", "a*b", true),
        ("abc.def", "abcZdef", false),
        ("**/foo/bar", "dir/foo/bar", true),
        ("**/foo/bar", "foo/bar", true),
        ("abc/**", "abc", false),
        ("**/.git", ".git", true),
        ("**/.git", "a/.git/config", true),
        ("util", "util/docker", true),
        ("util/**\n!util/keep", "util/keep", false),
        ("*\n!keep", "keep", false),
        ("*\n!keep", "other", true),
        ("*\n!keep\nkeep/x", "keep/x", true),
        ("docs\n!docs/README.md", "docs/README.md", false),
        ("docs\n!docs/README.md", "docs/x", true),
        ("!docs/README.md\ndocs", "docs/README.md", true),
        ("dir*", "dir", true),
        ("*/dir", "a/dir", true),
    ] {
        assert_eq!(ignore(patterns).matches(path.as_bytes()), want, "{patterns:?} {path}");
    }
}

#[test]
fn endless_stars_take_little_time() {
    let patterns = "**a**a**a**a**a**a**a**a**a**a**a**b*\n*a*a*a*a*a*a*a*a*a*a*a*a*a*a*c*d";
    let path = "a".repeat(200);
    let begun = std::time::Instant::now();
    assert!(!ignore(patterns).matches(path.as_bytes()));
    assert!(begun.elapsed().as_secs() < 5);
}

/// moby's own way: a regular expression of each pattern.
fn plainly(patterns: &[(bool, String)], path: &str) -> bool {
    let mut matched = false;
    for (exception, pattern) in patterns {
        if *exception != matched {
            continue;
        }
        let parts: Vec<&str> = path.split('/').collect();
        if (1..=parts.len()).any(|n| one(pattern, &parts[..n].join("/"))) {
            matched = !exception;
        }
    }
    matched
}

fn one(pattern: &str, path: &str) -> bool {
    let (mut regex, mut plain, mut first_stars, mut only_end) =
        ("^".to_owned(), true, false, false);
    let chars: Vec<char> = pattern.chars().collect();
    let mut i = 0;
    let mut turn = 0;
    while i < chars.len() {
        match chars[i] {
            '*' if chars.get(i + 1) == Some(&'*') => {
                i += 1;
                if chars.get(i + 1) == Some(&'/') {
                    i += 1;
                }
                if i + 1 == chars.len() {
                    only_end = plain && !first_stars;
                    regex += ".*";
                    if !only_end {
                        plain = false;
                    }
                } else {
                    regex += "(.*/)?";
                    plain = false;
                }
                if turn == 0 {
                    (first_stars, plain, only_end) = (true, true, false);
                }
            }
            '*' => {
                regex += "[^/]*";
                plain = false;
            }
            '?' => {
                regex += "[^/]";
                plain = false;
            }
            c => regex += &regex_lite::escape(&c.to_string()),
        }
        i += 1;
        turn += 1;
    }
    if plain && first_stars {
        let end = &pattern[2..];
        return path.ends_with(end) || end.strip_prefix('/') == Some(path);
    }
    if plain && only_end {
        return path.starts_with(&pattern[..pattern.len() - 2]);
    }
    regex_lite::Regex::new(&(regex + "$")).unwrap().is_match(path)
}

fn patterns() -> impl Strategy<Value = Vec<(bool, String)>> {
    let part = prop_oneof![Just("a"), Just("b"), Just("*"), Just("**"), Just("/"), Just("?")];
    let text = proptest::collection::vec(part, 1..8).prop_map(|parts| parts.concat());
    let one = (any::<bool>(), text).prop_map(|(exception, text)| {
        let clean = glob::clean(text.as_bytes());
        let clean = clean.strip_prefix(b"/").filter(|c| !c.is_empty()).unwrap_or(&clean).to_vec();
        (exception, String::from_utf8(clean).unwrap())
    });
    proptest::collection::vec(one, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_plain_one_agrees(patterns in patterns(), path in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
        let lines: Vec<String> = patterns
            .iter()
            .map(|(exception, text)| format!("{}{text}", if *exception { "!" } else { "" }))
            .collect();
        let ignore = ignore(&lines.join("\n"));
        let want = plainly(&patterns, &path);
        prop_assert_eq!(ignore.matches(path.as_bytes()), want, "{:?}", lines);
    }

    /// A directory that is not looked into has nothing that would be taken.
    #[test]
    fn nothing_spared_is_missed(patterns in patterns(), path in "[ab]{1,2}(/[ab]{1,2}){1,3}") {
        let ignore = Ignore::of(
            patterns
                .iter()
                .map(|(exception, text)| Pattern::new(text.as_bytes(), *exception).unwrap())
                .collect(),
        );
        let mut seen = Seen::default();
        let mut walked = true;
        let parts: Vec<&str> = path.split('/').collect();
        for n in 1..parts.len() {
            let dir = parts[..n].join("/");
            let (ignored, below) = ignore.enter(&seen, dir.as_bytes());
            walked &= !ignored || ignore.spares_below(dir.as_bytes());
            seen = below;
        }
        let taken = !ignore.matches_in(&seen, path.as_bytes());
        prop_assert!(walked || !taken, "{:?}", patterns);
    }

    #[test]
    fn no_text_panics(text in "[ab!*?/\\[\\]\\\\^#. \n-]{0,40}", path in "[ab/.]{0,20}") {
        if let Ok(ignore) = Ignore::parse(text.as_bytes(), "F") {
            let _ = ignore.matches(path.as_bytes());
            let _ = ignore.seen(path.as_bytes());
        }
    }
}
