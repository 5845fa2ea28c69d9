//! Events (pages "Receiving event pushes", "Template messages", "Subscription notifications", "Mass sending"):
//! tree → [`Event`].
//!
//! Names are matched as they are written, then without regard to case; an unknown event is kept by its name.
//! Fields that did not come are empty or `None`.

mod details;

pub use details::{
    ArticleUrl, CardEvent, CardKind, CopyrightCheck, MassSendReport, Pictures, PublishReport, PublishedArticle,
    ScanCode, SubscribeAnswer, SubscribeSent, VerificationEvent, VerificationKind,
};

use serde::Serialize;
use utoipa::ToSchema;

use super::message::{Place, integer, number, optional, text};
use super::tree::Node;

/// Serialized, it is what came with the event, under the names that stand here; its own name is told elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Event {
    /// `scene` (without `qrscene_`) and `ticket` only when a QR code was scanned.
    #[schema(title = "Subscribe")]
    Subscribe {
        scene: Option<String>,
        ticket: Option<String>,
    },
    Unsubscribe,
    /// `SCAN`: a follower scanned a QR code of ours.
    #[schema(title = "Scan")]
    Scan {
        scene: String,
        ticket: Option<String>,
    },
    /// `LOCATION`: degrees, and metres of precision.
    #[schema(title = "Location")]
    Location {
        latitude: Option<f64>,
        longitude: Option<f64>,
        precision: Option<f64>,
    },
    /// `CLICK`: the menu's key.
    #[schema(title = "Click")]
    Click {
        key: String,
    },
    /// `VIEW`
    #[schema(title = "View")]
    View {
        url: String,
        menu_id: Option<String>,
    },
    #[schema(title = "ViewMiniProgram")]
    ViewMiniProgram {
        path: String,
        menu_id: Option<String>,
    },
    #[schema(title = "ScanCodePush")]
    ScanCodePush {
        key: String,
        code: ScanCode,
    },
    /// The user looks at a waiting message.
    #[schema(title = "ScanCodeWaitMsg")]
    ScanCodeWaitMsg {
        key: String,
        code: ScanCode,
    },
    #[schema(title = "PicSysPhoto")]
    PicSysPhoto {
        key: String,
        pictures: Pictures,
    },
    #[schema(title = "PicPhotoOrAlbum")]
    PicPhotoOrAlbum {
        key: String,
        pictures: Pictures,
    },
    #[schema(title = "PicWeixin")]
    PicWeixin {
        key: String,
        pictures: Pictures,
    },
    #[schema(title = "LocationSelect")]
    LocationSelect {
        key: String,
        place: Place,
    },
    /// `TEMPLATESENDJOBFINISH`: the receipt of a template message.
    #[schema(title = "TemplateSendJobFinish")]
    TemplateSendJobFinish {
        msgid: String,
        status: String,
    },
    /// `MASSSENDJOBFINISH`
    MassSendJobFinish(Box<MassSendReport>),
    /// `subscribe_msg_popup_event`: what the user answered to the pop-up.
    SubscribeMsgPopup(Vec<SubscribeAnswer>),
    /// `subscribe_msg_change_event`: what the user changed in the settings.
    SubscribeMsgChange(Vec<SubscribeAnswer>),
    /// `subscribe_msg_sent_event`
    SubscribeMsgSent(Vec<SubscribeSent>),
    /// `PUBLISHJOBFINISH`
    PublishJobFinish(PublishReport),
    Card(Box<CardEvent>),
    Verification(VerificationEvent),
    #[schema(title = "KfCreateSession")]
    KfCreateSession {
        account: String,
    },
    #[schema(title = "KfCloseSession")]
    KfCloseSession {
        account: String,
    },
    #[schema(title = "KfSwitchSession")]
    KfSwitchSession {
        from: String,
        to: String,
    },
    UserInfoModified(UserRight),
    UserAuthorizationRevoke(UserRight),
    UserAuthorizationCancellation(UserRight),
    /// `debug_demo`: the console's debug tool.
    #[schema(title = "DebugDemo")]
    DebugDemo {
        text: Option<String>,
    },
    #[schema(title = "Unknown")]
    Unknown {
        event: String,
    },
}

/// A user's word on their own data: what we hold about them must be deleted or refreshed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserRight {
    pub openid: String,
    pub app_id: String,
    pub revoke_info: Option<String>,
}

/// A receipt as an event carries it: `TEMPLATESENDJOBFINISH`, or one `List` entry of `subscribe_msg_sent_event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    pub msgid: String,
    /// `success`, or `failed…` with the reason behind the colon.
    pub status: String,
}

type Reader = fn(&Node) -> Event;

impl Event {
    pub(super) fn read(name: &str, root: &Node) -> Self {
        match look_up(name) {
            Some(reader) => reader(root),
            None => Self::Unknown { event: name.to_owned() },
        }
    }

    /// The receipts in it; those without a `MsgID` belong to no message and are left out.
    pub fn delivery_reports(&self) -> Vec<DeliveryReport> {
        match self {
            Self::TemplateSendJobFinish { msgid, status } if !msgid.is_empty() => {
                vec![DeliveryReport { msgid: msgid.clone(), status: status.clone() }]
            }
            Self::SubscribeMsgSent(entries) => entries.iter().filter_map(SubscribeSent::delivery_report).collect(),
            _ => Vec::new(),
        }
    }
}

/// The documented events, as WeChat writes them.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

fn look_up(name: &str) -> Option<Reader> {
    let exact = NAMES.iter().find(|(known, _)| *known == name);
    exact.or_else(|| NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))).map(|(_, reader)| *reader)
}

/// Every documented event, as WeChat writes it.
const NAMES: [(&str, Reader); 45] = [
    ("subscribe", |root| Event::Subscribe { scene: followed_by(root), ticket: optional(root, "Ticket") }),
    ("unsubscribe", |_| Event::Unsubscribe),
    ("SCAN", |root| Event::Scan { scene: key(root), ticket: optional(root, "Ticket") }),
    ("LOCATION", |root| Event::Location {
        latitude: number(root, "Latitude"),
        longitude: number(root, "Longitude"),
        precision: number(root, "Precision"),
    }),
    ("CLICK", |root| Event::Click { key: key(root) }),
    ("VIEW", |root| Event::View { url: key(root), menu_id: menu_id(root) }),
    ("view_miniprogram", |root| Event::ViewMiniProgram { path: key(root), menu_id: menu_id(root) }),
    ("scancode_push", |root| Event::ScanCodePush { key: key(root), code: ScanCode::read(root) }),
    ("scancode_waitmsg", |root| Event::ScanCodeWaitMsg { key: key(root), code: ScanCode::read(root) }),
    ("pic_sysphoto", |root| Event::PicSysPhoto { key: key(root), pictures: Pictures::read(root) }),
    ("pic_photo_or_album", |root| Event::PicPhotoOrAlbum { key: key(root), pictures: Pictures::read(root) }),
    ("pic_weixin", |root| Event::PicWeixin { key: key(root), pictures: Pictures::read(root) }),
    ("location_select", |root| Event::LocationSelect {
        key: key(root),
        place: root.child("SendLocationInfo").map(Place::read).unwrap_or_default(),
    }),
    ("TEMPLATESENDJOBFINISH", |root| Event::TemplateSendJobFinish {
        msgid: text(root, "MsgID"),
        status: text(root, "Status"),
    }),
    ("MASSSENDJOBFINISH", |root| Event::MassSendJobFinish(Box::new(MassSendReport::read(root)))),
    ("subscribe_msg_popup_event", |root| Event::SubscribeMsgPopup(SubscribeAnswer::read_all(root))),
    ("subscribe_msg_change_event", |root| Event::SubscribeMsgChange(SubscribeAnswer::read_all(root))),
    ("subscribe_msg_sent_event", |root| Event::SubscribeMsgSent(SubscribeSent::read_all(root))),
    ("PUBLISHJOBFINISH", |root| Event::PublishJobFinish(PublishReport::read(root))),
    ("card_pass_check", |root| card(CardKind::PassCheck, root)),
    ("card_not_pass_check", |root| card(CardKind::NotPassCheck, root)),
    ("user_get_card", |root| card(CardKind::Get, root)),
    ("user_gifting_card", |root| card(CardKind::Gifting, root)),
    ("user_del_card", |root| card(CardKind::Delete, root)),
    ("user_consume_card", |root| card(CardKind::Consume, root)),
    ("user_pay_from_pay_cell", |root| card(CardKind::PayFromPayCell, root)),
    ("user_view_card", |root| card(CardKind::View, root)),
    ("user_enter_session_from_card", |root| card(CardKind::EnterSession, root)),
    ("update_member_card", |root| card(CardKind::UpdateMember, root)),
    ("card_sku_remind", |root| card(CardKind::SkuRemind, root)),
    ("card_pay_order", |root| card(CardKind::PayOrder, root)),
    ("submit_membercard_user_info", |root| card(CardKind::SubmitMemberInfo, root)),
    ("qualification_verify_success", |root| verification(VerificationKind::QualificationSuccess, root)),
    ("qualification_verify_fail", |root| verification(VerificationKind::QualificationFail, root)),
    ("naming_verify_success", |root| verification(VerificationKind::NamingSuccess, root)),
    ("naming_verify_fail", |root| verification(VerificationKind::NamingFail, root)),
    ("annual_renew", |root| verification(VerificationKind::AnnualRenew, root)),
    ("verify_expired", |root| verification(VerificationKind::Expired, root)),
    ("kf_create_session", |root| Event::KfCreateSession { account: text(root, "KfAccount") }),
    ("kf_close_session", |root| Event::KfCloseSession { account: text(root, "KfAccount") }),
    ("kf_switch_session", |root| Event::KfSwitchSession {
        from: text(root, "FromKfAccount"),
        to: text(root, "ToKfAccount"),
    }),
    ("user_info_modified", |root| Event::UserInfoModified(UserRight::read(root))),
    ("user_authorization_revoke", |root| Event::UserAuthorizationRevoke(UserRight::read(root))),
    ("user_authorization_cancellation", |root| Event::UserAuthorizationCancellation(UserRight::read(root))),
    ("debug_demo", |root| Event::DebugDemo { text: optional(root, "debug_str") }),
];

fn key(root: &Node) -> String {
    text(root, "EventKey")
}

fn menu_id(root: &Node) -> Option<String> {
    optional(root, "MenuId").or_else(|| optional(root, "MenuID"))
}

/// The scene of the QR code that made a user follow. Without one an empty key may come.
fn followed_by(root: &Node) -> Option<String> {
    let key = root.text_of("EventKey")?;
    Some(key.strip_prefix("qrscene_").unwrap_or(key).to_owned())
}

fn card(kind: CardKind, root: &Node) -> Event {
    Event::Card(Box::new(CardEvent::read(kind, root)))
}

fn verification(kind: VerificationKind, root: &Node) -> Event {
    Event::Verification(VerificationEvent {
        kind,
        expired_time: integer(root, "ExpiredTime"),
        fail_time: integer(root, "FailTime"),
        fail_reason: optional(root, "FailReason"),
    })
}

impl UserRight {
    fn read(root: &Node) -> Self {
        Self { openid: text(root, "OpenID"), app_id: text(root, "AppID"), revoke_info: optional(root, "RevokeInfo") }
    }
}

#[cfg(test)]
mod tests;
