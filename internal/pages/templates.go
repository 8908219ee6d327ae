package pages

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var (
	//go:embed *.html style.css
	ownFiles embed.FS
	//go:embed banks.js
	filterScript string
)

const (
	styleFile  = "style.css"
	layoutFile = "layout.html"
)

// sharedFiles are the templates that all pages have, and pageFiles those of one page each.
var (
	sharedFiles = []string{layoutFile, "form.html", "support.html"}
	pageFiles   = []string{"message.html", "banks.html", "consent.html", "connection.html", "name.html"}
)

// templates are the pages' templates, by the name of the page.
type templates struct {
	pages map[string]*template.Template
	style string
}

// parseTemplates parses the templates. Those in replaced, by the names of their files, stand
// in place of this package's. The accent is a style that follows the others.
func parseTemplates(replaced map[string]string, accent string) (t templates, err error) {
	read := func(file string) string {
		if text, ok := replaced[file]; ok {
			return text
		}
		text, err := ownFiles.ReadFile(file)
		if err != nil {
			panic(err) // the files are embedded
		}
		return string(text)
	}
	t = templates{make(map[string]*template.Template), read(styleFile) + accent}
	shared := template.New("pages").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(t.style) },    //nolint:gosec // our own file, or the operator's
		"script": func() template.JS { return template.JS(filterScript) }, //nolint:gosec // our own file
	})
	for _, file := range sharedFiles {
		if _, err := shared.New(file).Parse(read(file)); err != nil {
			return t, err
		}
	}
	for _, file := range pageFiles {
		page := template.Must(shared.Clone())
		if _, err := page.New(file).Parse(read(file)); err != nil {
			return t, err
		}
		t.pages[strings.TrimSuffix(file, ".html")] = page.Lookup(layoutFile)
	}
	return t, nil
}

// view is what a template is given.
type view struct {
	*Language
	// SiteName is what the site is called, and Logo its picture, or "".
	SiteName string
	Logo     template.URL
	Page     Content
}

// draw returns the HTML of a page and its Content-Security-Policy.
func (t templates) draw(v view) (body []byte, policy string, err error) {
	var b bytes.Buffer
	if err := t.pages[v.Page.template()].Execute(&b, v); err != nil {
		return nil, "", err
	}
	return b.Bytes(), "default-src 'none'; base-uri 'none'; style-src " + hashSource(t.style) + "; img-src 'self' data:" + v.Page.policy(), nil
}

// maxTemplate bounds a file of the operator's.
const maxTemplate = 256 << 10

// readTemplateDir returns the templates in a folder, by the names of their files.
func readTemplateDir(dir string) (replaced map[string]string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("template_dir: %w", err)
	}
	names := slices.Concat([]string{styleFile}, sharedFiles, pageFiles)
	replaced = make(map[string]string)
	for _, entry := range entries {
		name := entry.Name()
		switch extension := filepath.Ext(name); {
		case extension != ".html" && extension != ".css":
		case !slices.Contains(names, name):
			return nil, fmt.Errorf("template_dir has %s, which is no page: the files are called %s", name, strings.Join(names, ", "))
		default:
			text, err := readBounded(filepath.Join(dir, name), maxTemplate)
			if err != nil {
				return nil, fmt.Errorf("template_dir: %w", err)
			}
			replaced[name] = string(text)
		}
	}
	if len(replaced) == 0 {
		return nil, fmt.Errorf("template_dir %s has none of the files %s: put one there, or leave template_dir out", dir, strings.Join(names, ", "))
	}
	return replaced, nil
}

// readBounded reads a file of no more than most bytes.
func readBounded(file string, most int64) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: file, Err: errors.New("it is not a file")}
	case info.Size() > most:
		return nil, &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("it has more than %d bytes", most)}
	}
	return os.ReadFile(file) //nolint:gosec // the operator names it
}
