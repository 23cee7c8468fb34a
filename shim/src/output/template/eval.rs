//! A tree and data → text.

use serde_json::Value;

use super::funcs;
use super::parse::{Choice, Command, Node, Operand, Pipeline};

/// Most text one template may make.
const LARGEST: usize = 64 << 20;

/// Fills in the nodes.
pub fn render(nodes: &[Node], data: &Value) -> Result<String, String> {
    let mut run = Run { variables: vec![(String::new(), data.clone())], out: String::new() };
    run.block(nodes, data)?;
    Ok(run.out)
}

struct Run {
    /// Innermost last; the empty name is `$`.
    variables: Vec<(String, Value)>,
    out: String,
}

impl Run {
    fn block(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        let outer = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.out.push_str(&funcs::text(&value));
            }
            Node::Set(name, pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.variables.push((name.clone(), value));
            }
            Node::Choice(kind, condition, body, otherwise) => {
                let value = self.pipeline(condition, dot)?;
                let inner = if *kind == Choice::With { &value } else { dot };
                if funcs::truth(&value) {
                    self.block(body, inner)?;
                } else {
                    self.block(otherwise, dot)?;
                }
            }
            Node::Range(names, over, body, otherwise) => {
                self.range(names, over, body, otherwise, dot)?;
            }
        }
        if self.out.len() > LARGEST { Err("the output is too long".into()) } else { Ok(()) }
    }

    fn range(
        &mut self,
        names: &[String],
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<(), String> {
        let items: Vec<(Value, Value)> = match self.pipeline(over, dot)? {
            Value::Null => Vec::new(),
            Value::Array(list) => {
                list.into_iter().enumerate().map(|(i, v)| (Value::from(i), v)).collect()
            }
            Value::Object(map) => map.into_iter().map(|(k, v)| (Value::from(k), v)).collect(),
            other => return Err(format!("range can't iterate over {}", funcs::text(&other))),
        };
        if items.is_empty() {
            return self.block(otherwise, dot);
        }
        for (index, value) in items {
            let outer = self.variables.len();
            match names {
                [v] => self.variables.push((v.clone(), value.clone())),
                [i, v] => {
                    self.variables.push((i.clone(), index));
                    self.variables.push((v.clone(), value.clone()));
                }
                _ => {}
            }
            self.block(body, &value)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let mut last = None;
        for command in &pipeline.0 {
            last = Some(self.command(command, last, dot)?);
        }
        last.ok_or_else(|| "missing value for command".to_owned())
    }

    fn command(
        &self,
        command: &Command,
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, String> {
        let Some((first, rest)) = command.0.split_first() else {
            return Err("missing value for command".into());
        };
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        match first {
            Operand::Function(name) => funcs::call(name, arguments),
            // docker's one method with an argument.
            Operand::Field(names) if names.len() == 1 && names[0] == "Label" => {
                funcs::label(dot, &arguments)
            }
            other if arguments.is_empty() => self.operand(other, dot),
            _ => Err("can't give argument to non-function".into()),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        match operand {
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Field(names) => field(dot, names),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(n, _)| n == name);
                let (_, value) = found.ok_or_else(|| format!("undefined variable \"${name}\""))?;
                field(value, fields)
            }
            Operand::Function(name) => funcs::call(name, Vec::new()),
            Operand::Group(pipeline, fields) => field(&self.pipeline(pipeline, dot)?, fields),
        }
    }
}

fn field(value: &Value, names: &[String]) -> Result<Value, String> {
    let mut at = value;
    for name in names {
        at = match at {
            Value::Object(map) => {
                map.get(name).ok_or_else(|| format!("map has no entry for key \"{name}\""))?
            }
            Value::Null => return Err(format!("nil data; no entry for key \"{name}\"")),
            other => {
                return Err(format!("can't evaluate field {name} in {}", funcs::text(other)));
            }
        };
    }
    Ok(at.clone())
}
