package truelayer

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// Pages is what the operator makes of the module's own pages. They need no script, and load
// nothing from elsewhere.
type Pages struct {
	// What the site is called on its pages, of at most 60 characters and without
	// placeholders. Default: the host of `redirect_uri`.
	Name string `json:"name,omitempty"`

	// The file of a picture beside the name, of at most 64 KB: SVG, PNG, JPEG, WebP or GIF.
	// It becomes a part of the pages when the configuration is loaded. Default: none.
	Logo string `json:"logo,omitempty"`

	// The color of buttons and links, in six hexadecimal digits such as `1652a8`, dark
	// enough for white words on it (WCAG 2.2, 1.4.3). In the dark it is made lighter. Default: blue.
	Accent string `json:"accent,omitempty"`

	// The only language of the pages, such as `de`. Default: the language that the visitor's
	// browser prefers, and English if the pages do not speak it.
	Language string `json:"language,omitempty"`

	// A folder with templates of Go's html/template, each in place of the module's own
	// with the same file name. They are read and tried when the configuration is loaded.
	// Default: none.
	TemplateDir string `json:"template_dir,omitempty"`
}

// options is the table of the block's options.
func (p *Pages) options() block.Options {
	return block.Options{
		{Name: "name", Syntax: "<text>", Value: block.Word(&p.Name, ""), Check: p.checkName},
		{Name: "logo", Syntax: "<file>", Value: block.Word(&p.Logo, "")},
		{Name: "accent", Syntax: "<color>", Value: accentArgument(p), Check: func() error { return checkPages(pages.Settings{Accent: p.Accent}) }},
		{Name: "language", Syntax: "<tag>", Value: block.Word(&p.Language, ""), Check: func() error { return checkPages(pages.Settings{Language: p.Language}) }},
		{Name: "template_dir", Syntax: "<dir>", Value: block.Word(&p.TemplateDir, "")},
	}
}

// accentArgument is the color. With a # before it, the Caddyfile has a comment in its place.
func accentArgument(p *Pages) block.Value {
	return block.Arguments{
		IsSet: func() bool { return p.Accent != "" },
		Read: func(args []string) error {
			if len(args) != 1 {
				return errors.New("accent takes a color, such as 1652a8: a # would begin a comment, so leave it out")
			}
			p.Accent = args[0]
			return nil
		},
	}
}

const maxSiteName = 60

func (p *Pages) checkName() error {
	switch {
	case strings.Contains(p.Name, "{"):
		return errors.New("name of pages takes no placeholders: write what the site is called")
	case utf8.RuneCountInString(p.Name) > maxSiteName:
		return fmt.Errorf("name of pages has more than %d characters: shorten it", maxSiteName)
	case !utf8.ValidString(p.Name) || strings.ContainsFunc(p.Name, unicode.IsControl):
		return errors.New("name of pages has characters that are no text: remove them")
	}
	return nil
}

func checkPages(settings pages.Settings) error {
	_, err := pages.New(settings)
	return err
}

// site returns the pages of a site on a host. p is nil without the option.
func (p *Pages) site(host string) (*pages.Site, error) {
	settings := pages.Settings{Name: host}
	if p != nil {
		settings = pages.Settings{Name: cmp.Or(p.Name, host), Logo: p.Logo, Accent: p.Accent, Language: p.Language, TemplateDir: p.TemplateDir}
	}
	look, err := pages.New(settings)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	return look, nil
}
