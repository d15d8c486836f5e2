package replica

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/shirou/gopsutil/v4/process"
)

const (
	recordSuffix = ".replica.json"
	tmpPrefix    = ".tmp-replica-"
	// reapGrace is the time from SIGTERM to SIGKILL of a stale replica: no request of ours is at it any more.
	reapGrace = 5 * time.Second
	reapPoll  = 20 * time.Millisecond
	// sameStart is by how much two readings of a process's start may differ: they are counted from the machine's start,
	// whose time moves when the clock is set.
	sameStart = 2 * time.Second
)

// record says which process a replica is. The time tells it from a later process of the same id.
type record struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Created int64  `json:"created"` // ms since 1970, as gopsutil's CreateTime
}

func validName(name string) error {
	if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("replica name %q cannot be a file's name", name)
	}
	return nil
}

func (r *Replica) recordPath() string {
	return filepath.Join(r.spec.Records, r.spec.Name+recordSuffix)
}

// writeRecord writes the record whole or not at all.
func (r *Replica) writeRecord() error {
	if r.spec.Records == "" {
		return nil
	}
	if r.usage == nil {
		return errors.New("write its record: it has ended already")
	}
	created, err := r.usage.CreateTime()
	if err != nil {
		return fmt.Errorf("write its record: %w", err)
	}
	b, err := json.Marshal(record{Name: r.spec.Name, PID: r.PID(), Created: created})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.spec.Records, 0o755); err != nil {
		return fmt.Errorf("write its record: %w", err)
	}
	tmp := filepath.Join(r.spec.Records, tmpPrefix+r.spec.Name)
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write its record: %w", err)
	}
	if err := os.Rename(tmp, r.recordPath()); err != nil {
		return fmt.Errorf("write its record: %w", err)
	}
	return nil
}

func (r *Replica) removeRecord() {
	if r.spec.Records == "" {
		return
	}
	if err := os.Remove(r.recordPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.spec.Log.Warn().Err(err).Msg("the replica's record could not be removed")
	}
}

// Reap ends the replicas that an engine which crashed has left behind and removes their records. A process is ended
// only if its id and its start are the record's: SIGTERM, and 5 s later SIGKILL, to its group. It returns how many it
// ended, with an error for each record that could not be dealt with. A folder that does not exist has no records. No
// engine that uses the folder may run.
func Reap(records string, log zerolog.Logger) (ended int, err error) {
	entries, err := os.ReadDir(records)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the replicas' records: %w", err)
	}
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, e := range entries {
		path := filepath.Join(records, e.Name())
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			_ = os.Remove(path)
		}
		if !strings.HasSuffix(e.Name(), recordSuffix) {
			continue
		}
		all.Go(func() {
			was, err := reapOne(path, log)
			mu.Lock()
			defer mu.Unlock()
			if was {
				ended++
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	return ended, errors.Join(errs...)
}

// reapOne ends the replica of one record and says whether it was there.
func reapOne(path string, log zerolog.Logger) (was bool, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("read a replica's record: %w", err)
	}
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil || rec.PID <= 1 || rec.Created <= 0 {
		// Records are written whole, so nobody can say whose this is. It would be in the way forever.
		return false, errors.Join(fmt.Errorf("%s is no record of a replica and was removed", path), os.Remove(path))
	}
	if rec.alive() {
		was = true
		log.Info().Str("replica", rec.Name).Int("pid", rec.PID).Msg("ending a replica that an engine left behind")
		if !rec.end(syscall.SIGTERM, reapGrace) && !rec.end(syscall.SIGKILL, killedWithin) {
			return true, fmt.Errorf("replica %s, process %d, does not end", rec.Name, rec.PID)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return was, fmt.Errorf("remove a replica's record: %w", err)
	}
	return was, nil
}

// end signals the replica's group and waits for its program to end.
func (rec record) end(s syscall.Signal, within time.Duration) bool {
	if err := syscall.Kill(-rec.PID, s); err != nil {
		return !rec.alive()
	}
	limit := time.NewTimer(within)
	defer limit.Stop()
	tick := time.NewTicker(reapPoll)
	defer tick.Stop()
	for rec.alive() {
		select {
		case <-tick.C:
		case <-limit.C:
			return false
		}
	}
	// What the program started and did not end itself.
	_ = syscall.Kill(-rec.PID, syscall.SIGKILL)
	return true
}

// alive says whether the record's very process runs.
func (rec record) alive() bool {
	p, err := process.NewProcess(int32(rec.PID))
	if err != nil {
		return false
	}
	created, err := p.CreateTime()
	if err != nil || time.Duration(max(created-rec.Created, rec.Created-created))*time.Millisecond > sameStart {
		return false
	}
	return !isZombie(p.Pid)
}
