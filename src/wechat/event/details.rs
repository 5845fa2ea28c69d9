//! The inner parts of events: one struct for each container that WeChat nests into one.

use serde::Serialize;
use utoipa::ToSchema;

use crate::wechat::event::DeliveryReport;
use crate::wechat::message::{integer, optional, text};
use crate::wechat::tree::Node;

/// `ScanCodeInfo`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScanCode {
    /// `qrcode`, `barcode`.
    pub scan_type: String,
    pub result: String,
}

impl ScanCode {
    pub(super) fn read(root: &Node) -> Self {
        let read = |info: &Node| Self { scan_type: text(info, "ScanType"), result: text(info, "ScanResult") };
        root.child("ScanCodeInfo").map(read).unwrap_or_default()
    }
}

/// `SendPicsInfo`. The pictures themselves come as messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pictures {
    pub count: Option<i64>,
    pub md5_sums: Vec<String>,
}

impl Pictures {
    pub(super) fn read(root: &Node) -> Self {
        let read = |info: &Node| Self {
            count: integer(info, "Count"),
            md5_sums: info.items("PicList", "item").into_iter().map(|item| text(item, "PicMd5Sum")).collect(),
        };
        root.child("SendPicsInfo").map(read).unwrap_or_default()
    }
}

/// One template in the pop-up or in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SubscribeAnswer {
    pub template_id: String,
    /// `accept`, `reject`.
    pub status: String,
    /// 1 web page, 2 article, 0 mini-program page.
    pub popup_scene: Option<i64>,
}

impl SubscribeAnswer {
    pub(super) fn read_all(root: &Node) -> Vec<Self> {
        let read = |entry: &Node| Self {
            template_id: text(entry, "TemplateId"),
            status: text(entry, "SubscribeStatusString"),
            popup_scene: integer(entry, "PopupScene"),
        };
        lists(root).into_iter().map(read).collect()
    }
}

/// One subscription notification that was sent, or was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SubscribeSent {
    pub template_id: String,
    pub msgid: String,
    /// 0: delivered.
    pub error_code: Option<i64>,
    /// `success`, or a reason.
    pub error_status: Option<String>,
}

impl SubscribeSent {
    pub(super) fn read_all(root: &Node) -> Vec<Self> {
        let read = |entry: &Node| Self {
            template_id: text(entry, "TemplateId"),
            msgid: optional(entry, "MsgID").unwrap_or_else(|| text(entry, "MsgId")),
            error_code: integer(entry, "ErrorCode"),
            error_status: optional(entry, "ErrorStatus"),
        };
        lists(root).into_iter().map(read).collect()
    }

    /// In the words of the template receipt. The code decides; the text does where there is no code.
    pub(super) fn delivery_report(&self) -> Option<DeliveryReport> {
        if self.msgid.is_empty() || self.msgid == "0" {
            return None;
        }
        let reason = self.error_status.as_deref();
        let status = match (self.error_code, reason) {
            (Some(0), _) | (None, Some("success")) => "success".to_owned(),
            (Some(code), None | Some("success")) => format!("failed: {code}"),
            (_, Some(reason)) if reason.starts_with("failed") => reason.to_owned(),
            (_, Some(reason)) => format!("failed: {reason}"),
            // Neither code nor text: this says nothing about the message.
            (None, None) => return None,
        };
        Some(DeliveryReport { msgid: self.msgid.clone(), status })
    }
}

/// The `List` entries under any of the three containers, or without one. Samples mix the containers up.
fn lists(root: &Node) -> Vec<&Node> {
    let containers = ["SubscribeMsgPopupEvent", "SubscribeMsgChangeEvent", "SubscribeMsgSentEvent"];
    let mut found: Vec<&Node> = root.all("List").collect();
    for container in containers {
        found.extend(root.all(container).flat_map(|node| node.all("List")));
    }
    found.retain(|entry| !entry.children.is_empty());
    found
}

/// `MASSSENDJOBFINISH`. `send success` still lets single recipients have failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct MassSendReport {
    pub msgid: String,
    /// `send success`, `send fail`, `err(10001)` …
    pub status: String,
    pub total_count: Option<i64>,
    /// Sent plus failed.
    pub filter_count: Option<i64>,
    pub sent_count: Option<i64>,
    pub error_count: Option<i64>,
    pub copyright_state: Option<i64>,
    pub copyright: Vec<CopyrightCheck>,
    pub article_urls: Vec<ArticleUrl>,
}

/// The originality check of one article.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CopyrightCheck {
    pub index: Option<i64>,
    pub user_declare_state: Option<i64>,
    pub audit_state: Option<i64>,
    pub original_url: Option<String>,
    pub original_type: Option<i64>,
    pub can_reprint: Option<i64>,
    pub need_replace_content: Option<i64>,
    pub need_show_reprint_source: Option<i64>,
}

/// Where an article of the mass message stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ArticleUrl {
    pub index: Option<i64>,
    pub url: String,
}

impl MassSendReport {
    pub(super) fn read(root: &Node) -> Self {
        let check = root.child("CopyrightCheckResult");
        let urls = root.child("ArticleUrlResult");
        let results = |node: Option<&Node>| -> Vec<Node> {
            node.map(|node| node.items("ResultList", "item").into_iter().cloned().collect()).unwrap_or_default()
        };
        Self {
            msgid: text(root, "MsgID"),
            status: text(root, "Status"),
            total_count: integer(root, "TotalCount"),
            filter_count: integer(root, "FilterCount"),
            sent_count: integer(root, "SentCount"),
            error_count: integer(root, "ErrorCount"),
            copyright_state: check.and_then(|node| integer(node, "CheckState")),
            copyright: results(check).iter().map(CopyrightCheck::read).collect(),
            article_urls: results(urls).iter().map(ArticleUrl::read).collect(),
        }
    }
}

impl CopyrightCheck {
    fn read(item: &Node) -> Self {
        Self {
            index: integer(item, "ArticleIdx"),
            user_declare_state: integer(item, "UserDeclareState"),
            audit_state: integer(item, "AuditState"),
            original_url: optional(item, "OriginalArticleUrl"),
            original_type: integer(item, "OriginalArticleType"),
            can_reprint: integer(item, "CanReprint"),
            need_replace_content: integer(item, "NeedReplaceContent"),
            need_show_reprint_source: integer(item, "NeedShowReprintSource"),
        }
    }
}

impl ArticleUrl {
    fn read(item: &Node) -> Self {
        Self { index: integer(item, "ArticleIdx"), url: text(item, "ArticleUrl") }
    }
}

/// `PUBLISHJOBFINISH`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PublishReport {
    pub publish_id: String,
    /// 0: published.
    pub status: Option<i64>,
    pub article_id: Option<String>,
    pub articles: Vec<PublishedArticle>,
    /// Numbers of the articles that failed.
    pub failed: Vec<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PublishedArticle {
    pub index: Option<i64>,
    pub url: String,
}

impl PublishReport {
    pub(super) fn read(root: &Node) -> Self {
        let Some(info) = root.child("PublishEventInfo") else { return Self::default() };
        let article = |item: &Node| PublishedArticle { index: integer(item, "idx"), url: text(item, "article_url") };
        let details = info.child("article_detail");
        Self {
            publish_id: text(info, "publish_id"),
            status: integer(info, "publish_status"),
            article_id: optional(info, "article_id"),
            articles: details.map(|node| node.all("item").map(article).collect()).unwrap_or_default(),
            failed: info.all("fail_idx").filter_map(|node| node.text.parse().ok()).collect(),
        }
    }
}

/// What happened to a card or coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardKind {
    PassCheck,
    NotPassCheck,
    Get,
    Gifting,
    Delete,
    Consume,
    PayFromPayCell,
    View,
    EnterSession,
    UpdateMember,
    SkuRemind,
    PayOrder,
    SubmitMemberInfo,
}

/// An event of cards and coupons. Most fields belong to one or two kinds only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CardEvent {
    pub kind: CardKind,
    pub card_id: String,
    pub code: Option<String>,
    pub is_give_by_friend: Option<bool>,
    pub friend_user_name: Option<String>,
    pub outer_id: Option<String>,
    pub outer_str: Option<String>,
    pub old_code: Option<String>,
    pub is_restore_member_card: Option<bool>,
    pub union_id: Option<String>,
}

impl CardEvent {
    pub(super) fn read(kind: CardKind, root: &Node) -> Self {
        let flag = |name: &str| root.text_of(name).map(|text| text == "1" || text == "true");
        Self {
            kind,
            card_id: text(root, "CardId"),
            code: optional(root, "UserCardCode"),
            is_give_by_friend: flag("IsGiveByFriend"),
            friend_user_name: optional(root, "FriendUserName"),
            outer_id: optional(root, "OuterId"),
            outer_str: optional(root, "OuterStr"),
            old_code: optional(root, "OldUserCardCode"),
            is_restore_member_card: flag("IsRestoreMemberCard"),
            union_id: optional(root, "UnionId"),
        }
    }
}

/// A step of the account's verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerificationKind {
    QualificationSuccess,
    QualificationFail,
    NamingSuccess,
    NamingFail,
    AnnualRenew,
    Expired,
}

/// The account's verification changed. An expired one ends the right to send templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct VerificationEvent {
    pub kind: VerificationKind,
    /// Seconds since 1970: when the verification ends.
    pub expired_time: Option<i64>,
    /// Seconds since 1970.
    pub fail_time: Option<i64>,
    pub fail_reason: Option<String>,
}
