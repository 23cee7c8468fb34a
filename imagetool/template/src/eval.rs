//! A tree and data → text.

use crate::Template;
use crate::data::Data;
use crate::funcs;
use crate::parse::{Choice, Command, Loop, Node, Operand, Pipeline};

/// Most text one template may make.
const LARGEST: usize = 64 << 20;

/// Deepest a template may call templates; each level takes a good part of the stack.
const DEEPEST: usize = 50;

/// Fills in the template; `headings`: the data are the headings of a table's columns, which
/// docker's own functions leave as they are.
pub fn render(template: &Template, data: &Data, headings: bool) -> Result<String, String> {
    let mut run = Run {
        template,
        variables: vec![(String::new(), data.clone())],
        out: String::new(),
        headings,
        depth: 0,
    };
    run.block(&template.nodes, data)?;
    Ok(run.out)
}

struct Run<'a> {
    template: &'a Template,
    /// Innermost last; the empty name is `$`.
    variables: Vec<(String, Data)>,
    out: String,
    headings: bool,
    /// How many templates deep.
    depth: usize,
}

/// How a block ended.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Run<'_> {
    fn block(&mut self, nodes: &[Node], dot: &Data) -> Result<Flow, String> {
        let outer = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Data) -> Result<Flow, String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let text = self.pipeline(pipeline, dot)?.text();
                self.out.push_str(&text);
            }
            Node::Declare(name, pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.variables.push((name.clone(), value));
            }
            Node::Assign(name, pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.assign(name, value)?;
            }
            Node::Choice(kind, name, condition, body, otherwise) => {
                return self.choice(*kind, name.as_ref(), condition, [body, otherwise], dot);
            }
            Node::Range(names, over, body, otherwise) => {
                return self.range(names, over, body, otherwise, dot);
            }
            Node::Template(name, given) => self.call(name, given.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        if self.out.len() > LARGEST { Err("the output is too long".into()) } else { Ok(Flow::On) }
    }

    fn assign(&mut self, name: &str, value: Data) -> Result<(), String> {
        let found = self.variables.iter_mut().rev().find(|(n, _)| n == name);
        found.ok_or_else(|| format!("undefined variable \"${name}\""))?.1 = value;
        Ok(())
    }

    fn choice(
        &mut self,
        kind: Choice,
        name: Option<&String>,
        condition: &Pipeline,
        [body, otherwise]: [&[Node]; 2],
        dot: &Data,
    ) -> Result<Flow, String> {
        let value = self.pipeline(condition, dot)?;
        let outer = self.variables.len();
        self.variables.extend(name.map(|name| (name.clone(), value.clone())));
        let flow = match (value.truth(), kind) {
            (true, Choice::With) => self.block(body, &value),
            (true, Choice::If) => self.block(body, dot),
            (false, _) => self.block(otherwise, dot),
        };
        self.variables.truncate(outer);
        flow
    }

    fn range(
        &mut self,
        names: &Loop,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Data,
    ) -> Result<Flow, String> {
        let items = items(self.pipeline(over, dot)?)?;
        if items.is_empty() {
            return self.block(otherwise, dot);
        }
        for (index, value) in items {
            let outer = self.variables.len();
            let pairs = match names.names.as_slice() {
                [v] => vec![(v, value.clone())],
                [i, v] => vec![(i, index), (v, value.clone())],
                _ => Vec::new(),
            };
            for (name, value) in pairs {
                if names.assign {
                    self.assign(name, value)?;
                } else {
                    self.variables.push((name.clone(), value));
                }
            }
            let flow = self.block(body, &value)?;
            self.variables.truncate(outer);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Another template, which sees nothing of this one's variables.
    fn call(&mut self, name: &str, given: Option<&Pipeline>, dot: &Data) -> Result<(), String> {
        let value = given.map_or(Ok(Data::NoValue), |p| self.pipeline(p, dot))?;
        let template = self.template;
        let nodes = template.defined.get(name);
        let nodes = nodes.ok_or_else(|| format!("template \"{name}\" not defined"))?;
        if self.depth >= DEEPEST {
            return Err("exceeded maximum template depth".into());
        }
        self.depth += 1;
        let inner = vec![(String::new(), value.clone())];
        let outer = std::mem::replace(&mut self.variables, inner);
        let result = self.block(nodes, &value);
        self.variables = outer;
        self.depth -= 1;
        result.map(|_| ())
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Data) -> Result<Data, String> {
        let mut last = None;
        for command in &pipeline.0 {
            last = Some(self.command(command, last, dot)?);
        }
        last.ok_or_else(|| "missing value for command".to_owned())
    }

    fn command(&self, command: &Command, piped: Option<Data>, dot: &Data) -> Result<Data, String> {
        let Some((first, rest)) = command.0.split_first() else {
            return Err("missing value for command".into());
        };
        if let Operand::Function(name) = first
            && let Some(stops) = funcs::stops_at(name)
        {
            return self.short(rest, piped, stops, name, dot);
        }
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        match first {
            Operand::Function(name) => funcs::call(name, arguments, self.headings),
            // docker's one method with an argument.
            Operand::Field(names) if names.len() == 1 && names[0] == "Label" => {
                funcs::label(dot, &arguments, self.headings)
            }
            other if arguments.is_empty() => self.operand(other, dot),
            Operand::Field(names) => {
                Err(format!("{} has arguments but cannot be invoked as function", names.join(".")))
            }
            _ => Err("can't give argument to non-function".into()),
        }
    }

    /// `and`, `or`: what comes after the deciding argument is not looked at.
    fn short(
        &self,
        rest: &[Operand],
        piped: Option<Data>,
        stops: bool,
        name: &str,
        dot: &Data,
    ) -> Result<Data, String> {
        let mut last = Err(format!("wrong number of args for {name}: want at least 1 got 0"));
        for operand in rest {
            let value = self.operand(operand, dot)?;
            if value.truth() == stops {
                return Ok(value);
            }
            last = Ok(value);
        }
        piped.map_or(last, Ok)
    }

    fn operand(&self, operand: &Operand, dot: &Data) -> Result<Data, String> {
        match operand {
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Field(names) => field(dot, names),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(n, _)| n == name);
                let (_, value) = found.ok_or_else(|| format!("undefined variable \"${name}\""))?;
                field(value, fields)
            }
            Operand::Function(name) => funcs::call(name, Vec::new(), self.headings),
            Operand::Group(pipeline, fields) => field(&self.pipeline(pipeline, dot)?, fields),
        }
    }
}

/// Index and value of each.
fn items(over: Data) -> Result<Vec<(Data, Data)>, String> {
    let counted = |n: i64| Data::Int(n);
    Ok(match over {
        Data::List(list, _) => (0..).map(counted).zip(list).collect(),
        Data::Map(map, _) => map.into_iter().map(|(k, v)| (Data::Text(k), v)).collect(),
        Data::Int(n) if n > 1 << 20 => return Err(format!("range over {n} is too long")),
        Data::Int(n) => (0..n).map(|n| (counted(n), counted(n))).collect(),
        other => return Err(format!("range can't iterate over {}", other.text())),
    })
}

fn field(value: &Data, names: &[String]) -> Result<Data, String> {
    let mut at = value.clone();
    for name in names {
        at = at.field(name)?;
    }
    Ok(at)
}
