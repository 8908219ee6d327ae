package pages

import "time"

// Message is the content of a page that says what happened, and offers one next step.
type Message struct {
	// Key names the page's text: a reason code, or the name of a page.
	Key string
	// Details are further paragraphs.
	Details []Words
	// Provider is a message of the provider, which is shown as a quotation.
	Provider string
	// Link is the URL of the button, and Post the URL to which it posts instead. Without
	// either there is no button.
	Link, Post string
	// Action names the text whose label the button has, "" for the page's own.
	Action string
	// NewTab says that the link opens a tab of its own.
	NewTab bool
	// Home is the URL of the site's home page. If it is "", there is no link.
	Home string
	// Retries says that the page tries again by itself.
	Retries bool
	Support
	// Framed allows other pages to embed the page in a frame. The links of every
	// page open in the top window, since banks refuse to be framed.
	Framed bool
}

// Support is what a visitor can tell the people who run the site.
type Support struct {
	// Reason is a code that helps to find the cause; without it nothing is shown.
	Reason string
	// RequestID is the id by which the log names the request.
	RequestID string
	// Time is when it happened.
	Time time.Time
}

// When returns the time as logs have it, in UTC.
func (s Support) When() string { return s.Time.UTC().Format("2006-01-02 15:04:05 UTC") }

// Label names the text that has the label of the button.
func (m *Message) Label() string {
	if m.Action != "" {
		return m.Action
	}
	return m.Key
}

func (m *Message) template() string { return "message" }

func (m *Message) policy() string {
	if m.Framed {
		return ""
	}
	return notFramed
}
