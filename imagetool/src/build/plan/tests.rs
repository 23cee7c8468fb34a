use super::*;
use crate::build::dockerfile::parse;

fn none(_: &str) -> Option<String> {
    None
}

fn planned(text: &str, order: &Order) -> Result<Vec<String>> {
    let file = parse(text.as_bytes(), "Dockerfile")?;
    let plan = Plan::new(&file, order, &none)?;
    let tell = |(index, s): (usize, &Staged<'_>)| {
        let marks = [(s.wanted, "w"), (s.packed, "p"), (plan.target == index, "t")];
        let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
        format!("{}:{:?}:{:?}:{}:{marks}", s.title, s.from, s.needs, s.total)
    };
    Ok(plan.stages.iter().enumerate().map(tell).collect())
}

#[test]
fn only_what_the_target_needs_is_wanted() {
    let text = "ARG V=1\nFROM x:$V AS a\nRUN a\nFROM a AS b\nCOPY . .\nWORKDIR /x\n\
        FROM scratch AS unused\nFROM y\nCOPY --from=b /a /a\nRUN --mount=from=z,target=/z true\n";
    let all = planned(text, &Order::default()).unwrap();
    assert_eq!(
        all,
        [
            "a:Image(\"x:1\"):{}:2:w",
            "b:Stage(0):{0}:2:w",
            "unused:Scratch:{}:0:",
            "stage-3:Image(\"y\"):{1}:3:wpt",
        ]
    );
    let order = Order { target: "B".into(), ..Order::default() };
    let all = planned(text, &order).unwrap();
    assert!(all[0].ends_with(":wp") && all[1].ends_with(":wpt") && all[3].ends_with(":3:"));
}

#[test]
fn args_are_predefined_given_or_defaults() {
    let text = "ARG A=1\nARG B=${A}2\nFROM x$B-$TARGETOS AS s\n";
    let mut order = Order::default();
    assert!(planned(text, &order).unwrap()[0].contains("x12-linux"));
    order.args.insert("A".into(), "7".into());
    assert!(planned(text, &order).unwrap()[0].contains("x72-linux"));
}

#[test]
fn what_cannot_be_is_told_with_its_line() {
    for (text, why) in [
        ("FROM x\nCOPY --from=1 a b\n", "invalid stage index 1"),
        ("FROM x\nCOPY --from=later a b\nFROM y AS later\n", "needs to be defined before"),
        ("FROM $NOTHING\n", "should not be blank"),
        ("FROM --platform=what/ever/x/y z\n", "failed to parse platform"),
    ] {
        let said = planned(text, &Order::default()).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
    let order = Order { target: "bilder".into(), ..Order::default() };
    let said = planned("FROM x AS builder\n", &order).unwrap_err().to_string();
    assert!(said.contains("did you mean builder?"), "{said}");
}
