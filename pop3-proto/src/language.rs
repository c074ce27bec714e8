//! The texts for people in the languages that the server speaks (RFC 6856 §3).

use mailwright_line_proto::language::{Catalogue, Row};

/// What the machine says, and what that is in other languages.
pub(crate) static CATALOGUE: Catalogue = Catalogue { texts: TEXTS, phrases: PHRASES };

/// Whole texts: in English, German, French, Spanish and Italian.
#[rustfmt::skip]
static TEXTS: &[Row] = &[
    ("{} it is", ["jetzt auf {}", "désormais en {}", "ahora en {}", "ora in {}"]),
    ("language listing follows", ["es folgt die Liste der Sprachen", "la liste des langues suit", "sigue la lista de idiomas", "segue l'elenco delle lingue"]),
    ("invalid language {}", ["unbekannte Sprache {}", "langue inconnue : {}", "idioma desconocido: {}", "lingua sconosciuta: {}"]),
    ("capability list follows", ["es folgt die Liste der Fähigkeiten", "la liste des capacités suit", "sigue la lista de capacidades", "segue l'elenco delle funzionalità"]),
    ("bye", ["auf Wiedersehen", "au revoir", "adiós", "arrivederci"]),
    ("begin TLS", ["TLS jetzt beginnen", "commencez TLS", "inicie TLS", "iniziare TLS"]),
    ("password?", ["Passwort?", "mot de passe ?", "¿contraseña?", "password?"]),
    ("authentication cancelled", ["Anmeldung abgebrochen", "authentification annulée", "autenticación cancelada", "autenticazione annullata"]),
    ("maildrop has 1 message ({} octets)", ["das Postfach hat 1 Nachricht ({} Oktette)", "la boîte a 1 message ({} octets)", "el buzón tiene 1 mensaje ({} octetos)", "la casella ha 1 messaggio ({} ottetti)"]),
    ("maildrop has {} messages ({} octets)", ["das Postfach hat {} Nachrichten ({} Oktette)", "la boîte a {} messages ({} octets)", "el buzón tiene {} mensajes ({} octetos)", "la casella ha {} messaggi ({} ottetti)"]),
    ("1 message ({} octets)", ["1 Nachricht ({} Oktette)", "1 message ({} octets)", "1 mensaje ({} octetos)", "1 messaggio ({} ottetti)"]),
    ("{} messages ({} octets)", ["{} Nachrichten ({} Oktette)", "{} messages ({} octets)", "{} mensajes ({} octetos)", "{} messaggi ({} ottetti)"]),
    ("{} octets", ["{} Oktette", "{} octets", "{} octetos", "{} ottetti"]),
    ("top of message follows", ["es folgt der Anfang der Nachricht", "le début du message suit", "sigue el principio del mensaje", "segue l'inizio del messaggio"]),
    ("message {} deleted", ["Nachricht {} gelöscht", "message {} supprimé", "mensaje {} eliminado", "messaggio {} eliminato"]),
    ("no such message", ["diese Nachricht gibt es nicht", "ce message n'existe pas", "ese mensaje no existe", "questo messaggio non esiste"]),
    ("unknown command", ["unbekannter Befehl", "commande inconnue", "comando desconocido", "comando sconosciuto"]),
    ("{} is not allowed after login", ["{} ist nach der Anmeldung nicht erlaubt", "{} n'est pas permis après l'authentification", "{} no está permitido después de iniciar sesión", "{} non è consentito dopo l'accesso"]),
    ("{} is not allowed before login", ["{} ist vor der Anmeldung nicht erlaubt", "{} n'est pas permis avant l'authentification", "{} no está permitido antes de iniciar sesión", "{} non è consentito prima dell'accesso"]),
    ("{} is not offered", ["{} wird nicht angeboten", "{} n'est pas proposé", "{} no se ofrece", "{} non è offerto"]),
    ("STLS comes before UTF8", ["STLS kommt vor UTF8", "STLS vient avant UTF8", "STLS va antes de UTF8", "STLS viene prima di UTF8"]),
    ("USER comes first", ["USER kommt zuerst", "USER vient d'abord", "USER va primero", "USER viene prima"]),
    ("octets behind STLS", ["Oktette hinter STLS", "octets après STLS", "octetos después de STLS", "ottetti dopo STLS"]),
    ("expected {+}", ["erwartet: {+}", "attendu : {+}", "se esperaba: {+}", "atteso: {+}"]),
    ("the line is too long", ["die Zeile ist zu lang", "la ligne est trop longue", "la línea es demasiado larga", "la riga è troppo lunga"]),
    ("the response is too long", ["die Antwort ist zu lang", "la réponse est trop longue", "la respuesta es demasiado larga", "la risposta è troppo lunga"]),
    ("the server is stopping", ["der Server wird beendet", "le serveur s'arrête", "el servidor se está deteniendo", "il server si sta arrestando"]),
    ("too many connections", ["zu viele Verbindungen", "trop de connexions", "demasiadas conexiones", "troppe connessioni"]),
    ("the connection is closed by the operator", ["die Verbindung wird vom Betreiber geschlossen", "la connexion est fermée par l'opérateur", "el operador cierra la conexión", "la connessione viene chiusa dal gestore"]),
    ("an answer took too long; try again later", ["eine Antwort hat zu lange gedauert; bitte später erneut versuchen", "une réponse a pris trop de temps ; réessayez plus tard", "una respuesta tardó demasiado; inténtelo de nuevo más tarde", "una risposta ha richiesto troppo tempo; riprovare più tardi"]),
    ("the account has changed; log in again", ["das Konto wurde geändert; bitte neu anmelden", "le compte a changé ; reconnectez-vous", "la cuenta ha cambiado; inicie sesión de nuevo", "l'account è cambiato; accedere di nuovo"]),
    ("the message was expunged by another session", ["die Nachricht wurde von einer anderen Sitzung gelöscht", "le message a été supprimé par une autre session", "otra sesión ha eliminado el mensaje", "il messaggio è stato eliminato da un'altra sessione"]),
    ("the maildrop is in use by another session", ["das Postfach wird von einer anderen Sitzung benutzt", "la boîte est utilisée par une autre session", "otra sesión está usando el buzón", "la casella è usata da un'altra sessione"]),
    ("temporary failure, try again later", ["vorübergehender Fehler, bitte später erneut versuchen", "échec temporaire, réessayez plus tard", "error temporal, inténtelo más tarde", "errore temporaneo, riprovare più tardi"]),
    ("permanent failure, ask your mail administrator", ["dauerhafter Fehler, bitte an den Verwalter wenden", "échec définitif, adressez-vous à votre administrateur", "error permanente, consulte a su administrador", "errore permanente, rivolgersi all'amministratore"]),
    ("the maildrop is read-only", ["das Postfach kann nur gelesen werden", "la boîte est en lecture seule", "el buzón es de solo lectura", "la casella è di sola lettura"]),
    ("too soon after the last login", ["zu kurz nach der letzten Anmeldung", "trop tôt après la dernière connexion", "demasiado pronto tras el último inicio de sesión", "troppo presto dopo l'ultimo accesso"]),
];

/// The arguments of commands.
#[rustfmt::skip]
static PHRASES: &[Row] = &[
    ("{} [message]", ["{} [Nachricht]", "{} [message]", "{} [mensaje]", "{} [messaggio]"]),
    ("{} message", ["{} Nachricht", "{} message", "{} mensaje", "{} messaggio"]),
    ("{} message lines", ["{} Nachricht Zeilen", "{} message lignes", "{} mensaje líneas", "{} messaggio righe"]),
    ("{} name", ["{} Name", "{} nom", "{} nombre", "{} nome"]),
    ("{} password", ["{} Passwort", "{} mot-de-passe", "{} contraseña", "{} password"]),
    ("{} name digest", ["{} Name Prüfsumme", "{} nom empreinte", "{} nombre resumen", "{} nome impronta"]),
    ("{} mechanism [initial-response]", ["{} Verfahren [erste-Antwort]", "{} mécanisme [réponse-initiale]", "{} mecanismo [respuesta-inicial]", "{} meccanismo [risposta-iniziale]"]),
    ("{} [language]", ["{} [Sprache]", "{} [langue]", "{} [idioma]", "{} [lingua]"]),
];

#[cfg(test)]
mod tests;
