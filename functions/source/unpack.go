package source

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// The archives that can be unpacked, by the end of their names.
const (
	formatTar   = ".tar"
	formatTarGz = ".tar.gz"
	formatZip   = ".zip"
)

func archiveFormat(name string) (string, error) {
	for suffix, format := range map[string]string{".tar.gz": formatTarGz, ".tgz": formatTarGz, ".tar": formatTar, ".zip": formatZip} {
		if strings.HasSuffix(strings.ToLower(name), suffix) {
			return format, nil
		}
	}
	return "", fmt.Errorf("%q is no archive that can be unpacked: expected .tar, .tar.gz, .tgz or .zip", path.Base(name))
}

// unpackInto unpacks an archive to dir, whole or not at all.
func unpackInto(dir string, archive *os.File, format string, o Options) (string, error) {
	if isDir(dir) {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".unpack-*")
	if err != nil {
		return "", err
	}
	if err := unpack(tmp, archive, format, o.MaxModel); err != nil {
		return "", errors.Join(fmt.Errorf("unpack: %w", err), os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, dir); err != nil {
		err = errors.Join(err, os.RemoveAll(tmp))
		if isDir(dir) {
			return dir, nil // another replica was faster
		}
		return "", err
	}
	return dir, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// unpack writes the archive's files below dir. os.Root keeps every path inside it.
func unpack(dir string, archive *os.File, format string, limit int64) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	to := &unpacker{root: root, left: limit, limit: limit}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch format {
	case formatZip:
		return to.zip(archive)
	case formatTarGz:
		gz, err := gzip.NewReader(bufio.NewReader(archive))
		if err != nil {
			return fmt.Errorf("not gzip: %w", err)
		}
		return to.tar(gz)
	}
	return to.tar(bufio.NewReader(archive))
}

// unpacker writes files until a limit.
type unpacker struct {
	root        *os.Root
	left, limit int64
}

func (u *unpacker) tar(r io.Reader) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			// The end of a gzip stream holds its checksum.
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return fmt.Errorf("the archive is broken or cut short: %w", err)
		}
		if err := u.entry(h.Name, h.FileInfo().Mode(), t); err != nil {
			return err
		}
	}
}

func (u *unpacker) zip(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return fmt.Errorf("the archive is broken or cut short: %w", err)
	}
	for _, file := range z.File {
		r, err := file.Open()
		if err != nil {
			return err
		}
		err = u.entry(file.Name, file.Mode(), r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// entry writes one file or folder; a model needs nothing else.
func (u *unpacker) entry(name string, mode fs.FileMode, r io.Reader) error {
	clean := path.Clean(strings.ReplaceAll(name, `\`, "/"))
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return fmt.Errorf("%q leads out of the archive", name)
	}
	switch {
	case mode.IsDir():
		return u.root.MkdirAll(clean, 0o755)
	case !mode.IsRegular():
		return fmt.Errorf("%q is neither a file nor a folder", name)
	}
	if err := u.root.MkdirAll(path.Dir(clean), 0o755); err != nil {
		return err
	}
	f, err := u.root.OpenFile(clean, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, u.left+1))
	u.left -= n
	if u.left < 0 {
		err = fmt.Errorf("it holds more than the limit of %d bytes", u.limit)
	} else if err != nil {
		err = fmt.Errorf("the archive is broken or cut short at %q: %w", name, err)
	}
	return errors.Join(err, f.Close())
}
