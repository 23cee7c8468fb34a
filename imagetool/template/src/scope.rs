//! Whether every variable is declared where it is used: Go says so before anything is filled in.

use crate::parse::{Command, Node, Operand, Pipeline};

/// Checks a template's nodes.
pub fn check(nodes: &[Node]) -> Result<(), String> {
    Scope { names: Vec::new() }.block(nodes)
}

struct Scope {
    names: Vec<String>,
}

impl Scope {
    fn block(&mut self, nodes: &[Node]) -> Result<(), String> {
        let outer = self.names.len();
        for node in nodes {
            self.node(node)?;
        }
        self.names.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Text(_) | Node::Break | Node::Continue | Node::Template(_, None) => Ok(()),
            Node::Print(pipeline) | Node::Template(_, Some(pipeline)) => self.pipeline(pipeline),
            Node::Declare(name, pipeline) => {
                self.pipeline(pipeline)?;
                self.names.push(name.clone());
                Ok(())
            }
            Node::Assign(name, pipeline) => {
                self.known(name)?;
                self.pipeline(pipeline)
            }
            Node::Choice(_, name, condition, body, otherwise) => {
                self.pipeline(condition)?;
                self.inside(name.iter().cloned().collect(), &[body, otherwise])
            }
            Node::Range(names, over, body, otherwise) => {
                self.pipeline(over)?;
                if names.assign {
                    names.names.iter().try_for_each(|name| self.known(name))?;
                }
                self.inside(names.names.clone(), &[body, otherwise])
            }
        }
    }

    fn inside(&mut self, names: Vec<String>, blocks: &[&Vec<Node>]) -> Result<(), String> {
        let outer = self.names.len();
        self.names.extend(names);
        for block in blocks {
            self.block(block)?;
        }
        self.names.truncate(outer);
        Ok(())
    }

    fn known(&self, name: &String) -> Result<(), String> {
        if name.is_empty() || self.names.contains(name) {
            return Ok(());
        }
        Err(format!("undefined variable \"${name}\""))
    }

    fn pipeline(&self, pipeline: &Pipeline) -> Result<(), String> {
        let operands = pipeline.0.iter().flat_map(|Command(words)| words);
        for operand in operands {
            match operand {
                Operand::Variable(name, _) => self.known(name)?,
                Operand::Group(inner, _) => self.pipeline(inner)?,
                _ => {}
            }
        }
        Ok(())
    }
}
