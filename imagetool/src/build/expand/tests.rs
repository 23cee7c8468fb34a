use super::*;
use proptest::prelude::*;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "HOME" => "/home/me",
        "EMPTY" => "",
        "TWO" => "a b",
        "FILE" => "dir/sub/name.tar.gz",
        "STARS" => "a*b?c\\d",
        "1" => "first",
        "ÄÖ" => "umlauts",
        "QUOTED" => "\"q\"",
        _ => return None,
    };
    Some(value.into())
}

#[track_caller]
fn gives(text: &str, want: &str) {
    assert_eq!(word(text, '\\', &env).as_deref(), Ok(want), "{text}");
}

#[track_caller]
fn refuses(text: &str, why: &str) {
    let said = word(text, '\\', &env).unwrap_err();
    assert!(said.contains(why), "{text}: {said}");
}

#[test]
fn plain_words_quotes_and_escapes() {
    gives("hello", "hello");
    gives("he'll'o", "hello");
    gives("'he'llo", "hello");
    gives(r"he\'llo", "he'llo");
    gives(r"'he\'llo", r"he\llo");
    gives(r#"abc"" x"#, "abc x");
    gives(r#""a\"b\$c\\d\e""#, r#"a"b$c\d\e"#);
    gives(r"end\", "end");
    gives(r"a\\b\c", r"a\bc");
    gives("\"it's\"", "it's");
    gives("'\"'", "\"");
    refuses("he'llo", "looking for matching single-quote");
    refuses("he\"llo", "looking for matching double-quote");
    refuses("\"abc\\", "double-quote");
    assert_eq!(word("a`$HOME\\", '`', &env).as_deref(), Ok("a$HOME\\"));
    assert_eq!(word("\"`\"\"", '`', &env).as_deref(), Ok("\""));
}

#[test]
fn variables() {
    gives("$HOME", "/home/me");
    gives("${HOME}x", "/home/mex");
    gives("'$HOME'", "$HOME");
    gives("\"$HOME\"", "/home/me");
    gives(r"\$HOME", "$HOME");
    gives("$NONE.", ".");
    gives("$", "$");
    gives("a$ b", "a$ b");
    gives("$(x)", "$(x)");
    gives("$1x", "firstx");
    gives("$12", "");
    gives("$@$*$!", "");
    gives("$$", "");
    gives("$ÄÖ.", "umlauts.");
    gives("$QUOTED", "\"q\"");
    refuses("${", "missing '}'");
    refuses("${}", "bad substitution");
    refuses("${:}", "bad substitution");
    refuses("${{x}", "bad substitution");
    refuses("${HOME", "unsupported modifier");
    refuses("${HOME~x}", "unsupported modifier (~)");
    refuses("${HOME:~x}", "unsupported modifier (:~)");
    refuses("${HOME:#x}", "unsupported modifier (:#)");
    refuses("${HOME:/x/y}", "unsupported modifier (:/)");
    refuses("${!x}", "unsupported modifier (x)");
    refuses("${HOME:", "missing '}'");
    refuses("${HOME:-x", "missing '}'");
}

#[test]
fn defaults_alternatives_and_demands() {
    for (text, want) in [
        ("${NONE-x}", "x"),
        ("${NONE:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${EMPTY:-x}", "x"),
        ("${HOME-x}", "/home/me"),
        ("${NONE+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${HOME:+x}", "x"),
        ("${HOME:?no}", "/home/me"),
        ("${EMPTY?no}", ""),
        ("${NONE:-${EMPTY:-$HOME}}y", "/home/mey"),
        ("${NONE:-\"a}b\"}", "a}b"),
        ("${NONE:-'$HOME'}", "$HOME"),
        ("${NONE:-a b}", "a b"),
        (r"${NONE:-\}}", "}"),
        ("${NONE:-}", ""),
        ("${HOME:+${NONE:-x}}", "x"),
    ] {
        gives(text, want);
    }
    refuses("${NONE?}", "NONE: is not allowed to be unset");
    refuses("${NONE:?}", "NONE: is not allowed to be unset");
    refuses("${EMPTY:?}", "EMPTY: is not allowed to be empty");
    refuses("${EMPTY:?give it}", "EMPTY: give it");
    refuses("${NONE?give $HOME}", "NONE: give /home/me");
}

#[test]
fn prefixes_and_suffixes() {
    for (text, want) in [
        ("${FILE#*/}", "sub/name.tar.gz"),
        ("${FILE##*/}", "name.tar.gz"),
        ("${FILE%.*}", "dir/sub/name.tar"),
        ("${FILE%%.*}", "dir/sub/name"),
        ("${FILE#nope}", "dir/sub/name.tar.gz"),
        ("${FILE#d?r}", "/sub/name.tar.gz"),
        ("${FILE%}", "dir/sub/name.tar.gz"),
        ("${FILE#\"dir\"}", "/sub/name.tar.gz"),
        (r"${STARS#a\*}", r"b?c\d"),
        (r"${STARS%\\d}", "a*b?c"),
        (r"${STARS%\?*}", "a*b"),
        ("${EMPTY#*}", ""),
        ("${NONE#x}", ""),
        ("${HOME#$HOME}", ""),
        ("${HOME%/*}", "/home"),
    ] {
        gives(text, want);
    }
    refuses(r"${HOME#\q}", "invalid escape");
}

#[test]
fn replacements() {
    for (text, want) in [
        ("${FILE/./-}", "dir/sub/name-tar.gz"),
        ("${FILE//./-}", "dir/sub/name-tar-gz"),
        (r"${FILE//\//_}", "dir_sub_name.tar.gz"),
        ("${FILE/?ub/X}", "dir/X/name.tar.gz"),
        ("${FILE/s*/X}", "dir/X"),
        ("${FILE//./}", "dir/sub/nametargz"),
        ("${TWO/ /$HOME}", "a/home/meb"),
        ("${NONE/a/b}", ""),
        ("${HOME/zz/b}", "/home/me"),
        ("${HOME//*/b}", "b"),
    ] {
        gives(text, want);
    }
    refuses("${HOME/x}", "missing '/' in ${}");
    refuses("${HOME/x/y", "missing '}'");
}

#[test]
fn words_part_at_blanks_that_are_not_quoted() {
    let of = |text: &str| words(text, '\\', &env).unwrap();
    assert_eq!(of("  a  'b c' \"d e\"f g\\ h "), ["a", "b c", "d ef", "g h"]);
    assert_eq!(of("x$TWO"), ["xa", "b"]);
    assert_eq!(of("\"$TWO\" $NONE ''"), ["a b"]);
    assert_eq!(of("80${NONE:-/tcp}"), ["80/tcp"]);
}

#[test]
fn a_heredoc_keeps_its_quotes_and_what_is_shown_keeps_unknown_names() {
    let text = "a 'b' \"$HOME\" \\$HOME ${NONE}\n";
    assert_eq!(keeping_quotes(text, &env).unwrap(), "a 'b' \"/home/me\" $HOME \n");
    assert_eq!(
        shown("echo '$x' \"$HOME\" $NONE ${NONE:-a}", '\\', &env),
        "echo '$x' \"/home/me\" $NONE ${NONE:-a}"
    );
    assert_eq!(shown("it's", '\\', &env), "it's");
}

#[test]
fn depth_is_bounded() {
    let deep = format!("{}x{}", "${a:-".repeat(5000), "}".repeat(5000));
    refuses(&deep, "");
}

proptest! {
    #[test]
    fn never_a_panic(text in "[a-zA-Z0-9 $'\"\\\\{}:#%/?*+<äß-]{0,60}") {
        let _ = (words(&text, '\\', &env), keeping_quotes(&text, &env), shown(&text, '`', &env));
    }

    #[test]
    fn a_quoted_word_is_itself(text in "[^']{0,40}") {
        prop_assert_eq!(word(&format!("'{text}'"), '\\', &env).unwrap(), text);
    }

    #[test]
    fn what_is_not_special_stays(text in "[a-zA-Z0-9 _.,;:/+=-]{0,40}") {
        prop_assert_eq!(word(&text, '\\', &env).unwrap(), text);
    }
}
