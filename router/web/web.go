// Package web holds the pages of the front end: HTML, CSS, JavaScript modules and sample pictures, embedded. It serves
// files and nothing else; what the pages call (/v1/…, /home/fetch, /home/live) is the router's.
package web

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
)

//go:embed index.html openapi.html assets
var pages embed.FS

// samples holds README.md alone in a build without sample pictures.
//
//go:embed samples
var samples embed.FS

// Handler serves /home, /openapi, /home/assets/… and /home/samples/…; anything else is a 404. It is safe for concurrent use.
func Handler() http.Handler {
	sub, err := fs.Sub(samples, "samples")
	if err != nil {
		panic(fmt.Sprintf("web: embedded samples: %v", err))
	}
	h, err := newHandler(pages, sub)
	if err != nil {
		panic(fmt.Sprintf("web: embedded pages: %v", err))
	}
	return h
}

// Asset returns a file below assets, such as base.css: weir's other pages look the same and draw with the same library.
func Asset(name string) []byte {
	data, err := pages.ReadFile("assets/" + name)
	if err != nil {
		panic(fmt.Sprintf("web: %v", err))
	}
	return data
}
