//! Go's text templates, the part of them that `--format` is used with: fields,
//! pipelines, variables, `if`, `range`, `with`, comparisons, and docker's own
//! functions. Data is JSON; a missing field is an error, as in docker.

mod eval;
mod funcs;
mod lex;
mod parse;

use serde_json::Value;

use crate::error::{Error, Result};

/// A template, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self> {
        let pieces = lex::pieces(text).map_err(|e| wrong(&e))?;
        let nodes = parse::parse(pieces).map_err(|e| wrong(&e))?;
        Ok(Self { nodes })
    }

    /// Fills it in with `data`.
    pub fn render(&self, data: &Value) -> Result<String> {
        eval::render(&self.nodes, data).map_err(|e| wrong(&e))
    }

    /// The fields named at the top, in order: the columns of a `table` template.
    pub fn fields(&self) -> Vec<String> {
        parse::fields(&self.nodes)
    }
}

fn wrong(why: &str) -> Error {
    Error::usage(format!("template parsing error: {why}"))
}

/// Text as Go's `%v` has it.
pub fn text(value: &Value) -> String {
    funcs::text(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: &str) -> String {
        let data = json!({
            "Name": "web", "N": 3, "On": true, "Off": false, "Nothing": null, "F": 1.5,
            "List": ["a", "b", "c"], "Map": {"k": "v", "x-y": "z"}, "Deep": {"A": {"B": [{"C": 1}]}},
            "__labels": {"com.x": "1"},
        });
        match Template::parse(template).and_then(|t| t.render(&data)) {
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
            ("{{.List}} {{.Map}}", "[a b c] map[k:v x-y:z]"),
            ("{{join .List \",\"}}", "a,b,c"),
            ("{{upper .Name}} {{lower \"AB\"}} {{title .Name}}", "WEB ab Web"),
            ("{{index .List 1}} {{index .Map \"x-y\"}}", "b z"),
            ("{{len .List}} {{len .Name}}", "3 3"),
            ("{{slice .Name 1 2}} {{slice .Name 1}}", "e eb"),
            ("{{range .List}}<{{.}}>{{end}}", "<a><b><c>"),
            ("{{range $i, $v := .List}}{{$i}}{{$v}}{{end}}", "0a1b2c"),
            ("{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}", "k=v;x-y=z;"),
            ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
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
            "{{.Name |}}",
            "{{(.Name}}",
            "{{1 2}}",
        ] {
            assert!(fill(template).starts_with('!'), "{template}: {}", fill(template));
        }
    }

    #[test]
    fn a_tables_columns_are_its_fields() {
        let template = Template::parse("{{.ID}}\t{{.Names | upper}}\t{{json .Labels}}").unwrap();
        assert_eq!(template.fields(), ["ID", "Names", "Labels"]);
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
        fn no_action_panics(text in "(\\{\\{-? ?(if|range|with|else|end|\\.[A-Z]?|\\$[a-z]?|json|len|index|slice|printf|\"%[a-z0-9-]*\"|-?[0-9]{1,20}|\\(|\\)|\\||:=|,| )* ?-?\\}\\}){0,6}") {
            let _ = fill(&text);
        }
    }
}
