package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"weir.dev/weir/functions/source"
)

// bucket starts an S3 server with one object, models/half.tar, and returns its address with and without that object.
func bucket(t *testing.T, content string) (object, base string) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("models"); err != nil {
		t.Fatal(err)
	}
	if _, err := backend.PutObject("models", "a/half.tar", nil, strings.NewReader(content), int64(len(content)), nil); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	query := "?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(server.URL)
	return "s3://models/a/half.tar" + query, "s3://models/absent" + query
}

// fetch runs the program and splits what it writes.
func fetch(t *testing.T, args ...string) (source.Object, string) {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(&out)
	line, err := r.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var object source.Object
	if err := json.Unmarshal(line, &object); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return object, string(rest)
}

func TestFetch(t *testing.T) {
	address, absent := bucket(t, "0123456789")
	whole, data := fetch(t, address)
	if whole.Size != 10 || whole.Version == "" || whole.From != 0 || data != "0123456789" {
		t.Fatalf("%+v, %q", whole, data)
	}
	for _, c := range []struct {
		name, from, version, known string
		want                       source.Object
		data                       string
	}{
		{"the rest", "4", whole.Version, "", source.Object{Size: 10, Version: whole.Version, From: 4}, "456789"},
		{"another version", "4", "old", "", source.Object{Size: 10, Version: whole.Version}, "0123456789"},
		{"all is there", "10", whole.Version, "", source.Object{Size: 10, Version: whole.Version, From: 10}, ""},
		{"known", "0", "", whole.Version, source.Object{Size: 10, Version: whole.Version, Unchanged: true}, ""},
	} {
		object, data := fetch(t, "--from", c.from, "--version", c.version, "--known", c.known, address)
		if object != c.want || data != c.data {
			t.Errorf("%s: %+v %q, want %+v %q", c.name, object, data, c.want, c.data)
		}
	}
	if err := run(t.Context(), []string{absent}, io.Discard); exitCode(err) != source.ExitRefused {
		t.Errorf("an absent object: %v", err)
	}
	for _, args := range [][]string{{}, {"ftp://models/a"}, {"--bogus", address}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
