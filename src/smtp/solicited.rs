//! Advertising of classes that nobody here wants: NO-SOLICITING (RFC 3865).

use mailwright_mail_model::{header, mime::Structure};
use mailwright_mailstore::Upload;
use mailwright_relay_policy::directory::Expansion;
use mailwright_smtp_proto::{Reply, Solicitation};

use super::plan::Way;
use crate::filter::header_of;

/// The field by which a message tells of itself what SOLICIT may tell of it.
const FIELD: &str = "Solicitation";

/// The same, if a message of these classes may go to all that it leads to here. What goes on is for others to refuse.
pub(super) fn wanted(
    unwanted: Option<&Solicitation>,
    classes: Option<&Solicitation>,
    expansion: Expansion,
) -> Result<Expansion, Reply> {
    let held = unwanted.zip(classes).and_then(|(unwanted, classes)| unwanted.first_held(classes));
    match held.filter(|_| is_for_us(&expansion)) {
        Some(class) => Err(refusal(class)),
        None => Ok(expansion),
    }
}

/// Refuses the message for all that it leads to here if its header tells of such a class.
pub(super) async fn look(unwanted: &Solicitation, upload: &mut Upload, structure: &Structure, way: &mut Way) {
    let octets = header_of(upload, structure).await;
    let Some(class) = header::find_all(&octets, FIELD).find_map(|field| told(&field.text(), unwanted)) else {
        return;
    };
    for (_, expansion) in &mut way.recipients {
        if expansion.as_ref().is_ok_and(is_for_us) {
            *expansion = Err(refusal(&class));
        }
    }
}

/// The first such class in the value of a field: words, with or without white space behind the commas.
fn told(value: &[u8], unwanted: &Solicitation) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let classes = text.split(',').filter_map(|class| class.trim().parse::<Solicitation>().ok());
    classes.into_iter().find_map(|class| unwanted.first_held(&class).map(str::to_owned))
}

fn is_for_us(expansion: &Expansion) -> bool {
    !expansion.deliveries.is_empty() || !expansion.handed.is_empty()
}

fn refusal(class: &str) -> Reply {
    Reply::permanent((7, 1), format!("Not wanted here: SOLICIT={class}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_people_write_them() {
        let unwanted: Solicitation = "net.example:ADV".parse().unwrap();
        for (value, held) in [
            ("net.example:ADV", true),
            ("org.example:ADV:ADLT,\r\n NET.example:adv:X", true),
            ("net.example:ADVICE", false),
            ("(none), 1x, net.example", false),
            ("", false),
        ] {
            assert_eq!(told(value.as_bytes(), &unwanted).is_some(), held, "{value}");
        }
    }
}
