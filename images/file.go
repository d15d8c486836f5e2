package images

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// File is a file or a folder of an image. It belongs to root and nobody else may write it.
type File struct {
	// Path is where it is in the image, absolute.
	Path string
	// Source is the file on this machine. If empty, Data is the content.
	Source string
	Data   []byte
	// Mode are its kind, a file or a folder, and its permissions.
	Mode fs.FileMode
	// Strip says that symbols are taken out of it.
	Strip bool
}

// Folder returns the files of a folder and of those below it, to be at another path in the image. Hidden files, such as
// the export's notes, stay out.
func Folder(source, to string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(source, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(entry.Name(), ".") && name != source:
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is neither a file nor a folder", name)
		}
		rel, err := filepath.Rel(source, name)
		files = append(files, File{Path: path.Join(to, filepath.ToSlash(rel)), Source: name, Mode: 0o644})
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has no files", source)
	}
	return files, err
}

// open returns the content of a file, with its size.
func (f File) open() (io.ReadCloser, int64, error) {
	if f.Source == "" {
		return io.NopCloser(bytes.NewReader(f.Data)), int64(len(f.Data)), nil
	}
	file, err := os.Open(f.Source)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// writeTar writes files as a layer's archive: in the order of their names, each after its folders, with one owner and
// one time, so that the same files make the same bytes.
func writeTar(w io.Writer, files []File) error {
	files = slices.SortedFunc(slices.Values(files), func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	t := tar.NewWriter(w)
	folders := map[string]bool{"/": true}
	for _, f := range files {
		if err := writeFolders(t, path.Dir(f.Path), folders); err != nil {
			return err
		}
		if f.Mode.IsDir() {
			folders[f.Path] = true
		}
		if err := writeFile(t, f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return t.Close()
}

func writeFolders(t *tar.Writer, dir string, done map[string]bool) error {
	if done[dir] {
		return nil
	}
	done[dir] = true
	if err := writeFolders(t, path.Dir(dir), done); err != nil {
		return err
	}
	return writeFile(t, File{Path: dir, Mode: fs.ModeDir | 0o755})
}

func writeFile(t *tar.Writer, f File) (err error) {
	h := &tar.Header{
		Name:     strings.TrimPrefix(f.Path, "/"),
		Mode:     int64(f.Mode.Perm()),
		ModTime:  time.Unix(0, 0),
		Typeflag: tar.TypeReg,
		Format:   tar.FormatPAX,
	}
	if f.Mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	if f.Mode.IsDir() {
		h.Name, h.Typeflag = h.Name+"/", tar.TypeDir
		return t.WriteHeader(h)
	}
	r, size, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h.Size = size
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, r)
	return err
}
