//! `spamtest`, `spamtestplus` and `virustest` (RFC 5235).

use crate::{
    Call, Context, Definition, Extension, Parameter, Request, Score, Stop, Tag, Target, matching::MatchKind,
};

pub(super) fn extensions() -> Vec<Extension> {
    let test = |name: &'static str, score: Score| {
        Definition::test(name, move |context, call| scored(context, call, score))
            .parameter(Parameter::String)
            .matching()
    };
    vec![
        Extension::new("spamtest").test(test("spamtest", Score::Spam)),
        Extension::new("spamtestplus")
            .implies("spamtest")
            .tag_on(Target::Named(&["spamtest"]), Tag::new("percent")),
        Extension::new("virustest").test(test("virustest", Score::Virus)),
    ]
}

fn scored(context: &mut Context, call: &Call, score: Score) -> Result<bool, Stop> {
    let score = if call.has("percent") { Score::SpamPercent } else { score };
    let mut matcher = context.matcher(call)?;
    let found = context.ask_text(Request::Score(score))?;
    let tested = found.is_some();
    // RFC 5235 §2.2: 0 says that the message was not tested.
    let value = found.unwrap_or_else(|| "0".to_owned());
    let counting = matches!(call.matching.as_ref().map(|matching| matching.kind), Some(MatchKind::Count(_)));
    // RFC 5235 §2.2: `:count` is 1 if the message was tested.
    if (!counting || tested) && matcher.value(context, &value)? {
        return Ok(true);
    }
    matcher.finish(context)
}
