//! Match types of other RFCs: `relational` (RFC 5231), `regex` (the draft of that name), `extlists` (RFC 6134).

use crate::{Call, Context, Definition, Extension, Parameter, Request, Stop, Tag, Target};

pub(super) fn extensions() -> Vec<Extension> {
    let relation = |name: &'static str| Tag::new(name).value(Parameter::Constant).group("match type");
    vec![
        Extension::new("relational")
            .tag_on(Target::Matching, relation("value"))
            .tag_on(Target::Matching, relation("count")),
        Extension::new("regex").tag_on(Target::Matching, Tag::new("regex").group("match type")),
        Extension::new("extlists")
            .tag_on(Target::Matching, Tag::new("list").group("match type"))
            .tag_on(Target::Named(&["redirect"]), Tag::new("list"))
            .test(Definition::test("valid_ext_list", valid).parameter(Parameter::Strings)),
    ]
}

/// RFC 6134 §2.6: all of them.
fn valid(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    for list in context.texts(call, 0)? {
        if !context.ask_truth(Request::List(list.into_owned()))? {
            return Ok(false);
        }
    }
    Ok(true)
}
