package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"time"
)

// file is one file as it is served. It does not change.
type file struct {
	data        []byte
	contentType string
	etag        string
}

// contentTypes are the types of the files there are, by extension. The machine's own table is not asked: it differs.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".gif":  "image/gif",
	".html": "text/html; charset=utf-8",
	".jpeg": "image/jpeg",
	".jpg":  "image/jpeg",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".png":  "image/png",
	".svg":  "image/svg+xml",
}

func newFile(name string, data []byte) file {
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		contentType = "text/plain; charset=utf-8"
	}
	sum := sha256.Sum256(data)
	return file{data: data, contentType: contentType, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
}

// serve answers with the file; a client that has it already gets 304.
func (f file) serve(w http.ResponseWriter, r *http.Request, cacheControl string) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Etag", f.etag)
	h.Set("Cache-Control", cacheControl)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}

// readFiles reads every file under fsys, by its path.
func readFiles(fsys fs.FS) (map[string]file, error) {
	files := map[string]file{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		files[name] = newFile(name, data)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading files: %w", err)
	}
	return files, nil
}

// version is a short name of the files' contents: another one whenever a byte of them changes.
func version(files map[string]file) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%s %s\n", name, files[name].etag)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
