package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

// TestPage: what is given is on the page, escaped, and what is not given leaves
// nothing behind.
func TestPage(t *testing.T) {
	full := Page{
		Text:   Text{Title: "A <title>", Text: "A text.", Action: "Go"},
		Detail: "A detail.", Provider: `"quoted" & more`, Link: "https://app.example.com/login?return=%2Fa", Home: "https://app.example.com/", Reason: "a_reason",
	}
	body, policy, err := full.Draw()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<title>A &lt;title&gt;</title>", "<p>A text.</p>", "<p>A detail.</p>", "&#34;quoted&#34; &amp; more", `href="https://app.example.com/login?return=%2Fa"`,
		`href="https://app.example.com/"`, "<footer>a_reason</footer>",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Contains(string(body), "<script") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	_, css, _ := strings.Cut(string(body), "<style>")
	css, _, _ = strings.Cut(css, "</style>")
	digest := sha256.Sum256([]byte(css))
	if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(digest[:])+"'") {
		t.Error("the policy does not allow the page's own style")
	}

	framed := Page{Text: Text{Title: "T", Text: "t"}, Framed: true}
	body, policy, err = framed.Draw()
	if err != nil || strings.Contains(policy, "frame-ancestors") {
		t.Errorf("in a frame: %s, %v", policy, err)
	}
	for _, absent := range []string{"<a ", "<form", "<footer", `class="provider"`} {
		if strings.Contains(string(body), absent) {
			t.Errorf("%s is on a page without one: %s", absent, body)
		}
	}
	form := Page{Text: Text{Title: "T", Text: "t", Action: "Do"}, Post: "/do", Link: "/elsewhere"}
	if body, _, _ = form.Draw(); !strings.Contains(string(body), `<form method="post" action="/do">`) || strings.Contains(string(body), "elsewhere") {
		t.Errorf("the form is %s", body)
	}
}

func TestTexts(t *testing.T) {
	for key, text := range texts {
		if text.Text == "" {
			t.Errorf("%s says nothing", key)
		}
	}
	if TextOf("nothing of ours") != (Text{}) {
		t.Error("a text for a key that there is not")
	}
}
