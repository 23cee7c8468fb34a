//! Go's text templates, as `--format` has them: actions, pipelines, variables, `if`, `range`,
//! `with`, `define`, `template`, `block`, Go's functions and docker's own. What is not in the data
//! is an error, as in docker.

mod data;
mod eval;
mod format;
mod funcs;
mod keys;
mod lex;
mod parse;
mod scope;

use std::fmt;

use serde_json::{Map, Value};

pub use data::Data;
pub use format::{duration, quoted};

/// A template, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<parse::Node>,
    defined: parse::Defined,
}

impl Template {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self> {
        let pieces = lex::pieces(text).map_err(|e| unparsed(&e))?;
        let (nodes, defined) = parse::parse(pieces).map_err(|e| unparsed(&e))?;
        for nodes in defined.values().chain([&nodes]) {
            scope::check(nodes).map_err(|e| unparsed(&e))?;
        }
        Ok(Self { nodes, defined })
    }

    /// Fills it in with `data`.
    pub fn render(&self, data: &Value) -> Result<String> {
        eval::render(self, &Data::of(data), false).map_err(|e| failed(&e))
    }

    /// Fills it in with a row of a list.
    pub fn row(&self, fields: &Map<String, Value>) -> Result<String> {
        eval::render(self, &Data::row(fields), false).map_err(|e| failed(&e))
    }

    /// The line of headings: fields by name, other words as they stand.
    pub fn headings(&self, of: impl Iterator<Item = (String, String)>) -> Result<String> {
        let headings = of.map(|(field, heading)| (field, Data::Text(heading))).collect();
        eval::render(self, &Data::Map(headings, false), true).map_err(|e| failed(&e))
    }
}

/// What is wrong with a template, or with the data it was given; one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The whole line.
    pub message: String,
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

fn unparsed(why: &str) -> Error {
    Error { message: format!("failed to parse template: {why}") }
}

fn failed(why: &str) -> Error {
    Error { message: format!("failed to execute template: {why}") }
}

/// Text as Go's `%v` has it.
pub fn text(value: &Value) -> String {
    Data::of(value).text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: &str) -> String {
        let data = json!({
            "Name": "web", "N": 3, "On": true, "Off": false, "Nothing": null, "F": 1.5,
            "List": ["a", "b", "c"], "Labels": {"k": "v", "x-y": "z"}, "Deep": {"A": {"B": [{"C": 1}]}},
            "Binds": null, "__labels": {"com.x": "1"},
        });
        match Template::parse(template).and_then(|t| t.row(data.as_object().unwrap())) {
            Ok(text) => text,
            Err(e) => format!("!{e}"),
        }
    }

    #[test]
    fn what_people_write() {
        for (template, want) in [
            ("plain", "plain"),
            ("{{.Name}}", "web"),
            ("{{ .Name }}:{{.N}} {{.On}}", "web:3 true"),
            ("{{json .List}}", r#"["a","b","c"]"#),
            ("{{.List}} {{.Labels}}", "[a b c] map[k:v x-y:z]"),
            ("{{join .List \",\"}}", "a,b,c"),
            ("{{upper .Name}} {{lower \"AB\"}} {{title .Name}}", "WEB ab Web"),
            ("{{index .List 1}} {{index .Labels \"x-y\"}}{{index .Labels \"no\"}}", "b z"),
            ("{{len .List}} {{len .Name}}", "3 3"),
            ("{{slice .Name 1 2}} {{slice .Name 1}}", "e eb"),
            ("{{range .List}}<{{.}}>{{end}}", "<a><b><c>"),
            ("{{range $i, $v := .List}}{{$i}}{{$v}}{{end}}", "0a1b2c"),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "k=v;x-y=z;"),
            ("{{range .Binds}}x{{else}}none{{end}}", "none"),
            ("{{if .On}}yes{{else}}no{{end}}", "yes"),
            ("{{if .Off}}a{{else if eq .N 3}}b{{else}}c{{end}}", "b"),
            ("{{with .Deep.A}}{{(index .B 0).C}}{{end}}", "1"),
            ("{{with .Off}}x{{else}}y{{end}}", "y"),
            ("{{$x := .Name}}{{$x}}{{$.N}}", "web3"),
            (
                "{{printf \"%s-%d-%v-%q-%5d|%-4s|%%\" .Name .N .On .Name .N \"a\"}}",
                "web-3-true-\"web\"-    3|a   |%",
            ),
            ("{{.Name | upper | printf \"%s!\"}}", "WEB!"),
            ("{{split \"a:b\" \":\"}}", "[a b]"),
            ("{{println .Name}}", "web\n"),
            ("{{if and .On (not .Off)}}1{{end}}{{or .Off .Name}}", "1web"),
            ("{{if gt .N 2}}big{{end}}{{ne .N 3}}", "bigfalse"),
            ("a  {{- .N -}}  b", "a3b"),
            ("{{/* no */}}x", "x"),
            ("{{.Label \"com.x\"}}|{{.Label \"none\"}}", "1|"),
            ("{{\"a\\tb\"}}{{`raw\\n`}}", "a\tbraw\\n"),
            ("{{.Nothing}}", "<nil>"),
            ("{{.F}}", "1.5"),
            ("{{eq .Name \"a\" \"web\"}}", "true"),
            ("{{truncate .Name 2}}{{pad .Name 1 2}}", "we web  "),
        ] {
            assert_eq!(fill(template), want, "{template}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for template in [
            "{{.Missing}}",
            "{{.Name",
            "{{end}}",
            "{{if .On}}",
            "{{nope .Name}}",
            "{{index .List 9}}",
            "{{.Name.X}}",
            "{{$y}}",
            "{{len .N}}",
            "{{range .N}}{{end}}{{",
            "{{\"a}}",
            "{{slice .Name 2 1}}",
            "{{else}}",
            "{{join .Name}}",
            "{{|}}",
            "{{| .Name}}",
            "{{(.Name}}",
            "{{1 2}}",
            "{{break}}",
            "{{template \"none\"}}",
            "{{if}}{{end}}",
            "{{define}}{{end}}",
            "{{if .On}}{{define \"x\"}}{{end}}{{end}}",
            "{{eq .Name 1}}",
            "{{lt .List .List}}",
            "{{$x = 1}}",
            "{{'ab'}}",
            "{{range .Name}}{{end}}",
        ] {
            assert!(fill(template).starts_with('!'), "{template}: {}", fill(template));
        }
    }

    #[test]
    fn whole_language() {
        for (template, want) in [
            (
                "{{define \"a\"}}<{{.}}>{{end}}{{template \"a\" .Name}}{{template \"a\" 1}}",
                "<web><1>",
            ),
            ("{{block \"b\" .Name}}[{{.}}]{{end}}", "[web]"),
            ("{{range .List}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
            ("{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
            ("{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "c"),
            ("{{if $n := .N}}{{$n}}{{end}}{{with $n := .Name}}{{$n}}{{.}}{{end}}", "3webweb"),
            ("{{range $i, $v := .List}}{{$i}}{{end}}{{range 3}}{{.}}{{end}}", "012012"),
            (
                "{{or .Nothing.X .Name}}",
                "!failed to execute template: nil pointer evaluating field X",
            ),
            ("{{or .Name .Nothing.X}}{{and .Off .Nothing.X}}", "webfalse"),
            ("{{'a'}} {{0x10}} {{1_000}} {{1e3}} {{-2}} {{1.50}}", "97 16 1000 1000 -2 1.5"),
            ("{{\"\\u00e9\\x41\"}}", "éA"),
            ("{{html \"<a>\"}} {{js \"'\"}} {{urlquery \"a b&\"}}", "&lt;a&gt; \\' a+b%26"),
            ("{{.Labels.no}} {{.Labels.k}}", "<no value> v"),
            ("{{.Binds}} {{len .Binds}} {{json .Binds}}", "[] 0 null"),
            ("{{with .Off}}{{else with .Name}}{{.}}{{end}}", "web"),
            ("x  {{- /* no */ -}}  y", "xy"),
            ("{{eq .N 1 2 3}} {{le 1 1}} {{lt \"a\" \"b\"}}", "true true true"),
            ("{{index .Name 0}} {{slice .List 1 3}}", "119 [b c]"),
            ("{{.Deep}}", "{{[{1}]}}"),
            ("{{printf \"%[2]*[1]d\" 7 4}}{{printf \"%+v\" .Deep.A}}", "   7{B:[{C:1}]}"),
            ("{{.List | len | printf \"%03d\"}}", "003"),
            ("{{title \"a-b c_d\"}}", "A-B C_d"),
            ("{{not .Off}} {{not .Name}}", "true false"),
        ] {
            assert_eq!(fill(template), want, "{template}");
        }
    }

    #[test]
    fn headings_pass_dockers_functions_as_they_are() {
        let template =
            "{{upper .ID}}: {{.Label \"com.x.a_key\"}}{{join .ID \",\"}}{{printf \"%s!\" .ID}}";
        let template = Template::parse(template).unwrap();
        let names = [("ID".to_owned(), "Container id".to_owned())];
        assert_eq!(
            template.headings(names.into_iter()).unwrap(),
            "Container id: a keyContainer idContainer id!"
        );
    }

    #[test]
    fn a_template_that_calls_itself_ends() {
        let endless = "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}";
        assert!(fill(endless).contains("maximum template depth"));
    }

    #[test]
    fn deep_nesting_is_refused_not_a_crash() {
        let deep = "{{".to_owned() + &"(".repeat(100_000) + "}}";
        assert!(fill(&deep).starts_with('!'));
        let deep = "{{if .On}}".repeat(100_000);
        assert!(fill(&deep).starts_with('!'));
    }

    proptest::proptest! {
        #[test]
        fn no_template_panics(text in "\\PC*") {
            let _ = fill(&text);
        }

        #[test]
        fn no_action_panics(text in "(\\{\\{-? ?(if|range|with|else|end|break|define|template|\"a\"|\\.[A-Z]?|\\$[a-z]?|json|len|index|slice|printf|\"%[a-z0-9-]*\"|-?[0-9]{1,20}|\\(|\\)|\\||:=|,| )* ?-?\\}\\}){0,6}") {
            let _ = fill(&text);
        }
    }
}
