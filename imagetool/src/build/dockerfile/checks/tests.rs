use super::*;
use crate::build::dockerfile::parse;

struct With<'a> {
    args: &'a [(&'a str, &'a str)],
    target: Option<&'a str>,
    base: Option<RunConfig>,
    ignored: &'a [&'a str],
}

const PLAIN: With = With { args: &[], target: None, base: None, ignored: &[] };

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// `LINE Check: text` of each finding.
fn found(text: &str, with: &With) -> Vec<String> {
    let file = parse(text.as_bytes(), "Dockerfile").unwrap();
    let asked = Asked {
        predefined: &map(&[("BUILDPLATFORM", "linux/amd64"), ("TARGETPLATFORM", "linux/arm64")]),
        args: &map(with.args),
        target: with.target,
        base: &|_| with.base.clone(),
        ignored: &|path| with.ignored.contains(&path),
    };
    let all = check(&file, &asked);
    all.iter().map(|w| format!("{} {}: {}", w.lines.start(), w.check, w.text)).collect()
}

#[track_caller]
fn finds(text: &str, want: &[&str]) {
    assert_eq!(found(text, &PLAIN), want, "{text}");
}

#[test]
fn names_and_casing() {
    finds(
        "FROM x AS Good\nFROM x as b\nfrom x",
        &[
            "1 StageNameCasing: Stage name 'Good' should be lowercase",
            "2 FromAsCasing: 'as' and 'FROM' keywords' casing do not match",
            "3 ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)",
        ],
    );
    finds(
        "from x AS a\ncopy a b\nRun x",
        &[
            "1 FromAsCasing: 'AS' and 'from' keywords' casing do not match",
            "3 ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (lowercase)",
        ],
    );
    finds(
        "FROM a AS b\nFROM c AS b\nFROM d AS scratch\nFROM e AS context",
        &[
            "2 DuplicateStageName: Duplicate stage name \"b\", stage names should be unique",
            "3 ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\"",
            "4 ReservedStageName: Stage name should not use the same name as reserved stage \"context\"",
        ],
    );
}

#[test]
fn lines_and_old_forms() {
    finds(
        "FROM x\nRUN a \\\n\n  b\nMAINTAINER me\nENV a b\nlabel c d\nENV e=f",
        &[
            "4 NoEmptyContinuation: Empty continuation line",
            "5 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label",
            "6 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            "7 LegacyKeyValueFormat: \"label key=value\" should be used instead of legacy \"label key value\" format",
            "7 ConsistentInstructionCasing: Command 'label' should match the case of the command majority (uppercase)",
        ],
    );
    let text = "# check=experimental=all\n# what A is\nARG A\n# it makes things\nFROM x AS b\n# B is good\nARG B\n#\nARG C";
    finds(
        text,
        &[
            "3 InvalidDefinitionDescription: Comment for ARG should follow the format: `# A <description>`",
            "5 InvalidDefinitionDescription: Comment for FROM should follow the format: `# b <description>`",
        ],
    );
    assert!(found(&text[text.find('\n').unwrap()..], &PLAIN).is_empty());
}

#[test]
fn what_a_stage_begins_from() {
    finds("ARG B\nFROM x:${V}${B}", &[
        "2 UndefinedArgInFrom: FROM argument 'V' is not declared (did you mean B?)",
        "2 InvalidDefaultArgInFrom: Default value for ARG x:${V}${B} results in empty or invalid base image name",
    ]
    .into_iter()
    .rev()
    .collect::<Vec<_>>());
    finds(
        "FROM --platform=$BULDPLATFORM x",
        &[
            "1 UndefinedArgInFrom: FROM argument 'BULDPLATFORM' is not declared (did you mean BUILDPLATFORM?)",
        ],
    );
    finds(
        "FROM --platform=$BUILDPLATFORM x\nFROM --platform=${TARGETPLATFORM} y",
        &[
            "2 RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
        ],
    );
    finds(
        "FROM --platform=linux/arm64 x\nFROM --platform=linux/arm64 x AS on-arm64",
        &[
            "1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/arm64\"",
        ],
    );
    let with = With { args: &[("V", "1")], ..PLAIN };
    assert_eq!(found("ARG V\nFROM x:$V", &with).len(), 1, "the default counts");
    finds("ARG V=1\nFROM x:$V", &[]);
}

#[test]
fn variables() {
    let known = With {
        base: Some(RunConfig { env: vec!["LANG=C".into()], ..RunConfig::default() }),
        ..PLAIN
    };
    let text = "FROM x AS a\nCOPY $foo $LANG /\nARG foo\nCOPY $foo ${bar:-y} /\nENV PATH=$PAHT:/b\nFROM a\nUSER $foo";
    assert_eq!(
        found(text, &known),
        [
            "2 UndefinedVar: Usage of undefined variable '$foo'",
            "4 UndefinedVar: Usage of undefined variable '$bar'",
            "5 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)",
        ]
    );
    assert_eq!(found("FROM x\nCOPY $foo /", &PLAIN), [""; 0], "who knows what the base has");
    finds(
        "FROM scratch AS a\nCOPY $foo /\nFROM scratch\nCOPY $bar /",
        &[
            "2 UndefinedVar: Usage of undefined variable '$foo'",
            "4 UndefinedVar: Usage of undefined variable '$bar'",
        ],
    );
    let last = With { target: Some(""), ..PLAIN };
    assert_eq!(found("FROM scratch AS a\nCOPY $foo /\nFROM scratch\nCOPY $bar /", &last).len(), 1);
    let text = "FROM scratch AS a\nUSER $a\nFROM scratch AS b\nUSER $b\nFROM scratch AS c\nUSER $c\nFROM b\nCOPY --from=0 x y\nFROM x";
    let of = |target| found(text, &With { target: Some(target), ..PLAIN }).len();
    assert_eq!([of("A"), of("3"), of(""), of("nope")], [1, 2, 0, 0]);
    let triggers = RunConfig { on_build: vec!["ENV foo=1".into()], ..RunConfig::default() };
    let with = With { base: Some(triggers), ..PLAIN };
    assert_eq!(found("FROM x\nUSER $foo", &with), [""; 0]);
}

#[test]
fn instructions() {
    finds(
        "FROM scratch\nCMD a\nENTRYPOINT b\nFROM scratch\nSHELL [\"s\"]\nCMD a",
        &[
            "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            "3 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
        ],
    );
    finds(
        "FROM x AS a\nCMD [\"a\"]\nCMD [\"b\"]\nFROM a\nCMD [\"c\"]",
        &[
            "2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        ],
    );
    finds(
        "FROM x AS a\nWORKDIR b/\nWORKDIR c\nFROM a\nWORKDIR d",
        &[
            "2 WorkdirRelativePath: Relative workdir \"b/\" can have unexpected results if the base image changes",
        ],
    );
    finds(
        "FROM x\nARG GITHUB_TOKEN\nENV my_Key=1 monkey=2 KEY_FILE=3 public_key=4",
        &[
            "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"GITHUB_TOKEN\")",
            "3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"my_Key\")",
        ],
    );
    finds(
        "FROM x\nEXPOSE 80/TCP 127.0.0.1:81:81 82:82 83",
        &[
            "2 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
            "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:81:81'",
            "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '82:82'",
        ],
    );
    let with = With { ignored: &["a/b"], ..PLAIN };
    let text = "FROM x\nCOPY ./a//b c /\nADD a/b /\nCOPY --from=x a/b /\nADD https://x/a/b /";
    assert_eq!(
        found(text, &with),
        [
            "2 CopyIgnoredFile: Attempting to Copy file \"a/b\" that is excluded by .dockerignore",
            "3 CopyIgnoredFile: Attempting to Add file \"a/b\" that is excluded by .dockerignore",
        ]
    );
}

#[test]
fn findings_are_skipped_or_end_the_build() {
    let text = "FROM x\nMAINTAINER a\n# check=skip=MaintainerDeprecated // for now\nMAINTAINER b\n";
    assert_eq!(found(text, &PLAIN).len(), 1);
    assert!(found(&format!("# check=skip=A,MaintainerDeprecated\n{text}"), &PLAIN).is_empty());
    assert!(found(&format!("# check=skip=all\n{text}"), &PLAIN).is_empty());
    let with = With { args: &[("BUILDKIT_DOCKERFILE_CHECK", "skip=all")], ..PLAIN };
    assert!(found(text, &with).is_empty());
    let file = parse(format!("# check=error=true\n{text}").as_bytes(), "D").unwrap();
    let warning = Warning { check: "MaintainerDeprecated", text: String::new(), lines: 3..=3 };
    let said = verdict(&file, &map(&[]), std::slice::from_ref(&warning)).unwrap_err().to_string();
    assert!(
        said.starts_with("D:3:1: lint violation found for rules: MaintainerDeprecated"),
        "{said}"
    );
    assert!(verdict(&file, &map(&[]), &[]).is_ok());
    let off = map(&[("BUILDKIT_DOCKERFILE_CHECK", "error=false")]);
    assert!(verdict(&file, &off, &[warning]).is_ok());
}

#[test]
fn addresses() {
    let of = |check| Warning { check, text: String::new(), lines: 1..=1 }.url();
    let base = "https://docs.docker.com/go/dockerfile/rule/";
    assert_eq!(of("JSONArgsRecommended"), format!("{base}json-args-recommended/"));
    assert_eq!(of("SecretsUsedInArgOrEnv"), format!("{base}secrets-used-in-arg-or-env/"));
    assert_eq!(of("FromAsCasing"), format!("{base}from-as-casing/"));
    assert_eq!(of("InvalidBaseImagePlatform"), "");
    let of = |check| Warning { check, text: String::new(), lines: 1..=1 };
    assert_eq!(of("DuplicateStageName").description(), "Stage names should be unique");
}
