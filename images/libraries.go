package images

import (
	"debug/elf"
	"fmt"
	"path/filepath"
	"strings"
)

// libraryFolder is where an image has the libraries of its program; LD_LIBRARY_PATH leads there.
const libraryFolder = "/usr/local/lib"

// library is a shared library that a program needs.
type library struct {
	name string // as programs ask for it
	file string // on this machine
}

// program is what an image must know of an executable.
type program struct {
	arch      string // in Go's words
	loader    string // the dynamic loader's path; empty for a static program
	libraries []library
}

// inspect reads an executable and finds the libraries that it and they need, as the dynamic loader would.
func inspect(name string) (program, error) {
	p := program{}
	f, err := elf.Open(name)
	if err != nil {
		return p, fmt.Errorf("%s: images are for Linux, and this is no program for it: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	switch f.Machine {
	case elf.EM_X86_64:
		p.arch = "amd64"
	case elf.EM_AARCH64:
		p.arch = "arm64"
	default:
		return p, fmt.Errorf("%s: images are for x86-64 and arm64, not for %s", name, f.Machine)
	}
	if p.loader, err = loader(f); err != nil || p.loader == "" {
		return p, err
	}
	seen := map[string]bool{filepath.Base(p.loader): true}
	for todo := []string{name}; len(todo) > 0; todo = todo[1:] {
		found, err := needed(todo[0], f.Machine, seen)
		if err != nil {
			return p, err
		}
		p.libraries = append(p.libraries, found...)
		for _, l := range found {
			todo = append(todo, l.file)
		}
	}
	return p, nil
}

// loader returns the dynamic loader that a program names.
func loader(f *elf.File) (string, error) {
	for _, s := range f.Progs {
		if s.Type == elf.PT_INTERP {
			text := make([]byte, s.Filesz)
			if _, err := s.ReadAt(text, 0); err != nil {
				return "", fmt.Errorf("read the loader's name: %w", err)
			}
			return strings.TrimRight(string(text), "\x00"), nil
		}
	}
	return "", nil
}

// needed finds what one program or library names itself, without what was seen before.
func needed(name string, machine elf.Machine, seen map[string]bool) ([]library, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	names, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	folders, err := searchPath(f, filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var found []library
	for _, n := range names {
		if seen[n] {
			continue
		}
		seen[n] = true
		file, err := findLibrary(n, machine, folders)
		if err != nil {
			return nil, fmt.Errorf("%s needs %s: %w", name, n, err)
		}
		found = append(found, library{n, file})
	}
	return found, nil
}

// searchPath is where the loader looks for what a file needs: where the file says, then the system's folders.
func searchPath(f *elf.File, origin string) ([]string, error) {
	var folders []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, err := f.DynString(tag)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			folders = append(folders, filepath.SplitList(strings.ReplaceAll(p, "$ORIGIN", origin))...)
		}
	}
	system := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	switch f.Machine {
	case elf.EM_X86_64:
		system = append([]string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"}, system...)
	case elf.EM_AARCH64:
		system = append([]string{"/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"}, system...)
	}
	return append(folders, system...), nil
}

func findLibrary(name string, machine elf.Machine, folders []string) (string, error) {
	for _, dir := range folders {
		file := filepath.Join(dir, name)
		f, err := elf.Open(file)
		if err != nil {
			continue // absent, or no library: the loader looks further, too
		}
		fits := f.Machine == machine
		if err := f.Close(); err != nil {
			return "", err
		}
		if fits {
			return filepath.EvalSymlinks(file)
		}
	}
	return "", fmt.Errorf("it is in none of %s", strings.Join(folders, ", "))
}
