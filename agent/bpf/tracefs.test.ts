import { expect, test } from "vitest";
import { offsetIn } from "./tracefs.ts";

const format = `name: sched_process_exec
ID: 365
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:__data_loc char[] filename;	offset:8;	size:4;	signed:0;
	field:pid_t pid;	offset:12;	size:4;	signed:1;
	field:pid_t old_pid;	offset:16;	size:4;	signed:1;
	field:char comm[TASK_COMM_LEN];	offset:20;	size:16;	signed:0;
	field:unsigned long sa_handler;	offset:40;	size:8;	signed:0;

print fmt: "filename=%s pid=%d old_pid=%d", __get_str(filename), REC->pid, REC->old_pid
`;

test.each([
  ["filename", 8],
  ["pid", 12],
  ["old_pid", 16],
  ["comm", 20],
  ["sa_handler", 40],
  ["group_dead", undefined],
])("offset of %s", (field, offset) => {
  expect(offsetIn(format, field)).toBe(offset);
});
