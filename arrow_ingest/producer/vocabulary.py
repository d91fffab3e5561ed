"""The words that generated events are made of: devices, places, campaigns, pages, elements, event names."""

from typing import Final

PAGEVIEW: Final = "$pageview"
AUTOCAPTURE: Final = "$autocapture"
IDENTIFY: Final = "$identify"
PAGELEAVE: Final = "$pageleave"

CUSTOM_EVENTS: Final = ("insight saved", "dashboard shared", "checkout completed", "invite sent", "export started")

HOST: Final = "app.example.com"

_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0 {1}Safari/537.36"

DEVICES: Final = (
    # os, version, browser, version, type, width, height, user agent
    ("Mac OS X", "10.15.7", "Chrome", 130, "Desktop", 1728, 1117, f"(Macintosh; Intel Mac OS X 10_15_7) {_CHROME}"),
    ("Windows", "10", "Chrome", 129, "Desktop", 1920, 1080, f"(Windows NT 10.0; Win64; x64) {_CHROME}"),
    ("Windows", "10", "Microsoft Edge", 130, "Desktop", 2560, 1440, f"(Windows NT 10.0; Win64; x64) {_CHROME}"),
    ("Linux", "", "Firefox", 132, "Desktop", 1920, 1200, "(X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"),
    ("Android", "14", "Chrome", 130, "Mobile", 412, 915, f"(Linux; Android 14; Pixel 8) {_CHROME}"),
    ("iOS", "17.6", "Mobile Safari", 17, "Mobile", 393, 852, "(iPhone; CPU iPhone OS 17_6) Version/{0}.6 Safari/604.1"),
)

PLACES: Final = (
    # country code, city, time zone, language
    ("US", "San Francisco", "America/Los_Angeles", "en-US"),
    ("US", "New York", "America/New_York", "en-US"),
    ("GB", "London", "Europe/London", "en-GB"),
    ("DE", "Berlin", "Europe/Berlin", "de-DE"),
    ("FR", "Saint-Étienne", "Europe/Paris", "fr-FR"),
    ("BR", "São Paulo", "America/Sao_Paulo", "pt-BR"),
    ("IN", "Bengaluru", "Asia/Kolkata", "en-IN"),
    ("JP", "東京", "Asia/Tokyo", "ja-JP"),
)

CAMPAIGNS: Final = (
    # referrer, utm source, medium, campaign; None: came directly
    ("$direct", None, None, None),
    ("https://www.google.com/", "google", "cpc", "autumn-launch"),
    ("https://news.ycombinator.com/", None, None, None),
    ("https://www.linkedin.com/", "linkedin", "social", "founders-2026"),
    ("https://mail.example.org/", "newsletter", "email", "issue-42"),
)

SECTIONS: Final = (
    # path and title of a page, by number
    ("/project/{0}/insights/{0:05x}", "Insight {0}"),
    ("/project/{0}/dashboard/{0}", "Dashboard {0}"),
    ("/project/{0}/persons?search=team-{0}", "Persons"),
    ("/project/{0}/feature_flags/{0}", "Feature flag {0}"),
    ("/pricing?plan=scale&seats={0}", "Pricing"),
    ("/docs/libraries/{0}", "Docs, chapter {0}"),
)

CONTROLS: Final = (
    # tag, class, text
    ("button", "LemonButton LemonButton--primary", "Save"),
    ("button", "LemonButton LemonButton--secondary", "Cancel"),
    ("a", "Link NavLink", "Dashboards"),
    ("a", "Link NavLink", "Session replay"),
    ("input", "LemonInput__input", ""),
    ("select", "LemonSelect", "Last 7 days"),
    ("span", "LemonTag LemonTag--size-medium", "Beta"),
)
