// Package pages draws the pages that visitors see. The texts are in the folder texts, one
// file for each language, and all pages have the same layout. A page needs no script and
// loads nothing from elsewhere.
package pages

import (
	"errors"
	"fmt"
	"html/template"
	"strings"
)

// Settings are what the operator of a site makes of its pages.
type Settings struct {
	// Name is what the site is called.
	Name string
	// Logo is the file of a picture beside the name; "" for none.
	Logo string
	// Accent is the color of buttons and links, such as 1652a8; "" for the pages' own.
	Accent string
	// Language is the only language of the pages; "" for the visitor's.
	Language string
	// TemplateDir is a folder with templates in place of the pages' own; "" for none.
	TemplateDir string
}

// Site draws the pages of one site.
type Site struct {
	name      string
	logo      template.URL
	language  *Language // nil for the visitor's
	own       templates // of this package
	templates templates // with those of the operator
}

// New returns the pages of a site. It fails if a setting cannot be used, or if a template
// of the operator's does not draw its page.
func New(settings Settings) (*Site, error) {
	s := &Site{name: settings.Name}
	var err error
	if settings.Language != "" {
		if s.language = named(settings.Language); s.language == nil {
			return nil, fmt.Errorf("language %q is none of the pages' languages: choose one of %s, or leave language out for the visitor's", settings.Language, tagList())
		}
	}
	if s.logo, err = readLogo(settings.Logo); err != nil {
		return nil, err
	}
	accent, err := accentStyle(settings.Accent)
	if err != nil {
		return nil, err
	}
	if s.own, err = parseTemplates(nil, accent); err != nil {
		return nil, err
	}
	s.templates = s.own
	if settings.TemplateDir == "" {
		return s, nil
	}
	replaced, err := readTemplateDir(settings.TemplateDir)
	if err != nil {
		return nil, err
	}
	if s.templates, err = parseTemplates(replaced, accent); err != nil {
		return nil, fmt.Errorf("template_dir: %w", err)
	}
	return s, s.templates.check(view{SiteName: s.name, Logo: s.logo}, s.Languages())
}

func tagList() string {
	list := make([]string, len(languages))
	for i, l := range languages {
		list[i] = l.Tag
	}
	return strings.Join(list, ", ")
}

// Language returns the language for a request with an Accept-Language field.
func (s *Site) Language(accept string) *Language {
	if s.language != nil {
		return s.language
	}
	return preferred(accept)
}

// Languages returns the languages that the site's pages speak.
func (s *Site) Languages() []*Language {
	if s.language != nil {
		return []*Language{s.language}
	}
	return languages
}

// IsFixed reports whether the language does not depend on the visitor.
func (s *Site) IsFixed() bool { return s.language != nil }

// Draw returns the HTML of a page and its Content-Security-Policy. If the operator's
// template fails, it returns the page as this package has it, and the error.
func (s *Site) Draw(l *Language, p Content) (body []byte, policy string, err error) {
	v := view{l, s.name, s.logo, p}
	body, policy, err = s.templates.draw(v)
	if err != nil {
		var failed error
		body, policy, failed = s.own.draw(v)
		err = errors.Join(err, failed)
	}
	return body, policy, err
}
