// Package lanes runs the messages of a partition in key lanes: one handler at
// a time for a key, many keys at once, and a commit position that never skips
// an unfinished message. Every broker uses it; drivers only fetch and commit.
package lanes
