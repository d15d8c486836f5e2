package route

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample() []Model {
	return []Model{
		{
			Name: "imagenet", Hosts: []string{"imagenet.default.localhost"}, EventTypes: []string{"com.example.photo"},
			Revisions: []Revision{
				{Name: "imagenet-00001", Tags: []string{"lite0", "stable"}, Version: 1, Percent: 80, Ready: true, Images: true},
				{Name: "imagenet-00002", Tags: []string{"lite2"}, Version: 2, Percent: 20, Ready: true, Images: true},
				{Name: "imagenet-00003", Tags: []string{"slow"}, Version: 2},
			},
		},
		{Name: "embed", Hosts: []string{"embed.default.localhost"}, Revisions: []Revision{{Name: "embed-00001", Version: 1, Percent: 100}}},
		{Name: "quiet", Revisions: []Revision{{Name: "quiet-00001", Tags: []string{"dark"}, Version: 7, Ready: true}}},
		{Name: "shop", HostOnly: true, Hosts: []string{"shop.default.localhost"}, Revisions: []Revision{{Name: "shop-00001", Percent: 100, Ready: true}}},
	}
}

func mustTable(t testing.TB, models []Model) *Table {
	t.Helper()
	table, err := NewTable(models)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestNewTableRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(ms []Model) []Model
		want   string
	}{
		{"empty name", func(ms []Model) []Model { ms[0].Name = ""; return ms }, "the name is not"},
		{"capital name", func(ms []Model) []Model { ms[0].Name = "ImageNet"; return ms }, "the name is not"},
		{"dash at an end", func(ms []Model) []Model { ms[0].Name = "a-"; return ms }, "the name is not"},
		{"long name", func(ms []Model) []Model { ms[0].Name = strings.Repeat("a", 64); return ms }, "the name is not"},
		{"same name", func(ms []Model) []Model { ms[1].Name = "imagenet"; return ms }, `model "imagenet" is there twice`},
		{"host with port", func(ms []Model) []Model { ms[0].Hosts[0] = "a:80"; return ms }, `host "a:80" is not`},
		{"empty host", func(ms []Model) []Model { ms[0].Hosts[0] = ""; return ms }, `host "" is not`},
		{"same host", func(ms []Model) []Model { ms[1].Hosts = ms[0].Hosts; return ms }, "is taken by model"},
		{"tag host taken", func(ms []Model) []Model { ms[1].Hosts = []string{"lite2-imagenet.default.localhost"}; return ms }, "is taken by model"},
		{"same event type", func(ms []Model) []Model { ms[1].EventTypes = ms[0].EventTypes; return ms }, "event type \"com.example.photo\" is taken"},
		{"empty event type", func(ms []Model) []Model { ms[1].EventTypes = []string{""}; return ms }, "an event type is empty"},
		{"same revision", func(ms []Model) []Model { ms[0].Revisions[1].Name = "imagenet-00001"; return ms }, "there twice"},
		{"same tag", func(ms []Model) []Model { ms[0].Revisions[1].Tags = []string{"lite0"}; return ms }, `tag "lite0" is there twice`},
		{"bad tag", func(ms []Model) []Model { ms[0].Revisions[1].Tags = []string{"Lite 0"}; return ms }, `tag "Lite 0" is not`},
		{"negative version", func(ms []Model) []Model { ms[0].Revisions[1].Version = -1; return ms }, "version -1 is negative"},
		{"percent over 100", func(ms []Model) []Model { ms[0].Revisions[1].Percent = 101; return ms }, "101 is not a percentage"},
		{"negative percent", func(ms []Model) []Model { ms[0].Revisions[1].Percent = -1; return ms }, "-1 is not a percentage"},
		{"sum over 100", func(ms []Model) []Model { ms[0].Revisions[1].Percent = 21; return ms }, "sum to 101"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table, err := NewTable(tt.change(sample()))
			if err == nil || table != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewTable = %v, %v; want an error with %q", table, err, tt.want)
			}
		})
	}
}

func TestNewTableReportsAllProblems(t *testing.T) {
	t.Parallel()
	ms := sample()
	ms[0].Revisions[0].Percent = -4
	ms[1].Hosts = []string{"B"}
	_, err := NewTable(ms)
	if err == nil || !strings.Contains(err.Error(), "-4") || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("NewTable: %v; want both problems", err)
	}
}

func TestTableIsImmutable(t *testing.T) {
	t.Parallel()
	ms := sample()
	table := mustTable(t, ms)
	want := table.Models()
	ms[0].Revisions[0].Percent, ms[0].Revisions[0].Tags[0], ms[0].Hosts[0] = 0, "x", "x"
	got := table.Models()
	got[0].Revisions[0].Name, got[1].Revisions[0].Tags[0] = "x", "x"
	if diff := cmp.Diff(want, table.Models()); diff != "" {
		t.Errorf("Models changed (-before +after):\n%s", diff)
	}
	var names []string
	for _, m := range want {
		names = append(names, m.Name)
	}
	if diff := cmp.Diff([]string{"embed", "imagenet", "quiet"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func FuzzNewTable(f *testing.F) {
	f.Add("imagenet", "imagenet.default.localhost", "imagenet-00001", "lite0", int64(1), 100, "x", "s", uint64(3))
	f.Add("", "", "", "", int64(-1), -1, "", "", ^uint64(0))
	f.Fuzz(func(t *testing.T, name, host, rev, tag string, version int64, percent int, hint, session string, random uint64) {
		table, err := NewTable([]Model{{Name: name, Hosts: []string{host}, Revisions: []Revision{
			{Name: rev, Tags: []string{tag}, Version: version, Percent: percent, Ready: true},
			{Name: "other", Percent: 1},
		}}})
		if err != nil {
			return
		}
		for _, h := range []Hints{
			{Model: hint}, {Host: hint}, {EventType: hint}, {Model: name, Tag: hint}, {Model: name, Version: version + 1}, {Host: host},
			{Model: name, Session: session}, {Model: name, Revision: hint},
		} {
			got, err := table.Pick(h, random)
			if err == nil && (got.Model != name || got.Revision != rev && got.Revision != "other") {
				t.Errorf("Pick(%+v) = %+v, of another model", h, got)
			}
		}
	})
}
