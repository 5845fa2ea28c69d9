//! Which form `content` has in each type, and when the type comes.

/// What `content` is.
pub(super) enum Form {
    /// A variant of `Event` or `Message` with fields of its own.
    Own(&'static str),
    /// A shape that several types share.
    Shape(&'static str),
    List(&'static str),
    Empty,
    /// No page documents it: everything that came.
    AsItCame,
}

/// `kind`: `callback.text` … → when it comes, and its form.
pub(super) fn form_of(kind: &str) -> (&'static str, Form) {
    let name = kind.strip_prefix("callback.").unwrap_or(kind);
    let found = FORMS.iter().find(|(known, ..)| *known == name);
    found.map_or(("It is not documented by WeChat.", Form::AsItCame), |(_, when, form)| (when, form()))
}

type Line = (&'static str, &'static str, fn() -> Form);

const CARD: fn() -> Form = || Form::Shape("CardEvent");
const VERIFICATION: fn() -> Form = || Form::Shape("VerificationEvent");
const RIGHT: fn() -> Form = || Form::Shape("UserRight");

#[rustfmt::skip]
const FORMS: [Line; 54] = [
    ("text", "A text, also a tap in a menu message (`menu_id`).", || Form::Own("Text")),
    ("image", "A picture.", || Form::Own("Image")),
    ("voice", "A voice message.", || Form::Own("Voice")),
    ("video", "A video.", || Form::Own("Video")),
    ("shortvideo", "A short video.", || Form::Own("ShortVideo")),
    ("location", "A place that the person sends.", || Form::Shape("Place")),
    ("link", "A link.", || Form::Own("Link")),
    ("file", "A file; WeChat documents no form for it, so everything comes as it came.", || Form::AsItCame),
    ("other", "Something without a `MsgType`, such as a probe: everything comes as it came.", || Form::AsItCame),
    ("event.subscribe", "Somebody follows the account; with `scene` and `ticket` by a QR code.", || Form::Own("Subscribe")),
    ("event.unsubscribe", "Somebody no longer follows it.", || Form::Empty),
    ("event.SCAN", "A follower scanned a QR code of the account.", || Form::Own("Scan")),
    ("event.LOCATION", "Where the person is, as the console's setting has it.", || Form::Own("Location")),
    ("event.CLICK", "A tap on a menu entry with a key.", || Form::Own("Click")),
    ("event.VIEW", "A tap on a menu entry with a link.", || Form::Own("View")),
    ("event.view_miniprogram", "A tap on a menu entry with a mini program.", || Form::Own("ViewMiniProgram")),
    ("event.scancode_push", "A scan from the menu.", || Form::Own("ScanCodePush")),
    ("event.scancode_waitmsg", "A scan from the menu; the person waits for an answer.", || Form::Own("ScanCodeWaitMsg")),
    ("event.pic_sysphoto", "Photographs from the menu; they follow as messages.", || Form::Own("PicSysPhoto")),
    ("event.pic_photo_or_album", "Photographs or pictures of the album, from the menu; they follow as messages.", || Form::Own("PicPhotoOrAlbum")),
    ("event.pic_weixin", "Pictures of WeChat's album, from the menu; they follow as messages.", || Form::Own("PicWeixin")),
    ("event.location_select", "A place chosen from the menu.", || Form::Own("LocationSelect")),
    ("event.TEMPLATESENDJOBFINISH", "The receipt of a template message; what it does to our message is told by `message.*`.", || Form::Own("TemplateSendJobFinish")),
    ("event.MASSSENDJOBFINISH", "A mass message was sent, or was not.", || Form::Shape("MassSendReport")),
    ("event.subscribe_msg_popup_event", "What the person answered to the pop-up of subscription notifications.", || Form::List("SubscribeAnswer")),
    ("event.subscribe_msg_change_event", "What the person changed in the settings of subscription notifications.", || Form::List("SubscribeAnswer")),
    ("event.subscribe_msg_sent_event", "Receipts of subscription notifications.", || Form::List("SubscribeSent")),
    ("event.PUBLISHJOBFINISH", "Articles were published, or were not.", || Form::Shape("PublishReport")),
    ("event.card_pass_check", "A card passed WeChat's review.", CARD),
    ("event.card_not_pass_check", "A card did not pass it.", CARD),
    ("event.user_get_card", "Somebody took a card.", CARD),
    ("event.user_gifting_card", "Somebody gave a card away.", CARD),
    ("event.user_del_card", "Somebody deleted a card.", CARD),
    ("event.user_consume_card", "A card was used.", CARD),
    ("event.user_pay_from_pay_cell", "Somebody paid from a card.", CARD),
    ("event.user_view_card", "Somebody opened a member card.", CARD),
    ("event.user_enter_session_from_card", "Somebody came to the account from a card.", CARD),
    ("event.update_member_card", "A member card's balance changed.", CARD),
    ("event.card_sku_remind", "A card's stock runs low.", CARD),
    ("event.card_pay_order", "An order of card stock changed.", CARD),
    ("event.submit_membercard_user_info", "Somebody activated a member card.", CARD),
    ("event.qualification_verify_success", "The account's qualification was verified.", VERIFICATION),
    ("event.qualification_verify_fail", "It was not.", VERIFICATION),
    ("event.naming_verify_success", "The account's name was verified.", VERIFICATION),
    ("event.naming_verify_fail", "It was not.", VERIFICATION),
    ("event.annual_renew", "The yearly verification is due.", VERIFICATION),
    ("event.verify_expired", "The verification has expired: template messages are refused from now on.", VERIFICATION),
    ("event.kf_create_session", "An agent took up a conversation.", || Form::Own("KfCreateSession")),
    ("event.kf_close_session", "An agent ended it.", || Form::Own("KfCloseSession")),
    ("event.kf_switch_session", "An agent handed it on.", || Form::Own("KfSwitchSession")),
    ("event.user_info_modified", "A person changed their data: what you hold of it is to be refreshed.", RIGHT),
    ("event.user_authorization_revoke", "A person revoked what they had allowed: their data is to be deleted.", RIGHT),
    ("event.user_authorization_cancellation", "A person closed their account: their data is to be deleted.", RIGHT),
    ("event.debug_demo", "The console's debug tool.", || Form::Own("DebugDemo")),
];
