"""How logs out there call their columns and event types (our choice, from public click data sets)."""

import re
from typing import Final

EXACT: Final[dict[str, tuple[str, ...]]] = {
    "user_id": (
        "userid", "user", "uid", "visitorid", "customerid", "memberid", "accountid", "householdid",
        "householdkey", "clientid", "buyerid", "reviewerid", "personid", "playerid", "anonymousid",
        "cookieid", "deviceid", "viewerid", "listenerid", "customer", "visitor", "member",
    ),
    "item_id": (
        "itemid", "item", "productid", "product", "articleid", "contentid", "sku", "skuid", "asin",
        "parentasin", "movieid", "videoid", "trackid", "songid", "adid", "offerid", "listingid",
        "bookid", "newsid", "gameid", "postid", "pageid", "recipeid", "businessid", "jobid", "url", "page",
    ),
    "category_id": (
        "categoryid", "category", "itemcategory", "cateid", "catid", "categorycode", "maincategory",
        "productcategory", "genre", "department", "topic", "topicid", "section", "commodity", "class",
    ),
    "event_type": (
        "eventtype", "event", "behavior", "behaviour", "behaviortype", "behaviourtype", "action",
        "actiontype", "interaction", "interactiontype", "eventname", "activity", "type",
    ),
    "ts": (
        "ts", "timestamp", "eventtime", "time", "eventtimestamp", "datetime", "timems", "timestampms",
        "timestamps", "createdat", "unixtime", "unixtimestamp", "unixreviewtime", "occurredat", "date",
        "actiontime", "servertime", "timestampunix",
    ),
    "event_id": ("eventid", "eventuuid", "uuid", "messageid", "hitid", "logid", "interactionid", "id"),
    "session_key": ("sessionid", "usersession", "session", "sessionkey", "visitid", "sid", "basketid"),
    "sequence": ("sequence", "seq", "sequencenumber", "seqno", "offset", "eventindex", "rowid"),
}  # fmt: skip

_WORDS: Final[dict[str, frozenset[str]]] = {
    "user_id": frozenset({"user", "visitor", "customer", "member", "household", "reviewer", "buyer"}),
    "item_id": frozenset({"item", "product", "article", "sku", "asin", "movie", "video", "track", "song"}),
    "category_id": frozenset({"category", "cate", "genre", "department", "topic"}),
    "event_type": frozenset({"behavior", "behaviour", "action", "interaction"}),
    "ts": frozenset({"timestamp", "time", "ts", "date", "datetime"}),
    "event_id": frozenset({"uuid"}),
    "session_key": frozenset({"session", "visit"}),
    "sequence": frozenset({"sequence", "seq"}),
}
_NOT_THE_EVENT: Final = frozenset(
    {"start", "end", "first", "last", "join", "joined", "birth", "signup", "updated", "duration", "size"}
)
ORDER_NAMES: Final = frozenset(
    {"ts", "timestamp", "time", "day", "week", "step", "date", "order", "ordernumber", "position", "transday"}
)
"""Names of a column that may give an order without a time."""

MODE_WORDS: Final[dict[str, frozenset[str]]] = {
    "purchase": frozenset(
        {"buy", "purchase", "purchased", "transaction", "order", "checkout", "pay", "paid", "bought"}
    ),
    "intent": frozenset(
        {"cart", "addtocart", "atc", "basket", "fav", "favorite", "favourite", "wish", "wishlist", "save",
         "bookmark", "like", "collect", "addtowishlist", "addtobasket", "subscribe"}
    ),
    "feedback": frozenset(
        {"rating", "rate", "review", "remove", "dislike", "hide", "report", "refund", "return", "unlike",
         "removefromcart", "comment", "share"}
    ),
    "browse": frozenset(
        {"pv", "view", "click", "pageview", "browse", "impression", "detail", "visit", "read", "play",
         "watch", "listen", "search", "open", "productview", "viewitem", "clk", "show"}
    ),
}  # fmt: skip


def tokens(name: str) -> list[str]:
    """Lower-case words of a name in snake, kebab or camel case.

    >>> tokens("clickArticle_ID")
    ['click', 'article', 'id']
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]


def name_score(role: str, name: str) -> float:
    """How much a column's name speaks for a role: 1 its usual name, 0.6 a word of it, 0 nothing."""
    words = tokens(name)
    joined = "".join(words)
    if joined in EXACT[role]:
        return 1.0 - 0.01 * EXACT[role].index(joined)
    score = 0.6 if _WORDS[role] & set(words) else 0.0
    if score and role in ("ts", "session_key", "user_id") and _NOT_THE_EVENT & set(words):
        score = 0.2
    return score


def guess_mode(event_type: str) -> str | None:
    """The mode that an event type's name speaks for; removing outranks the cart it removes from.

    >>> guess_mode("add_to_cart"), guess_mode("remove_from_cart"), guess_mode("3")
    ('intent', 'feedback', None)
    """
    words = tokens(event_type)
    heard = {*words, "".join(words)}
    for mode in ("feedback", "intent", "purchase", "browse"):
        if heard & MODE_WORDS[mode]:
            return mode
    return None
