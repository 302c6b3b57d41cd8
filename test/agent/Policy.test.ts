import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Policy from "../../src/agent/Policy.ts"

const policy = (...patterns: ReadonlyArray<string>) => patterns.map((text) => Result.getOrThrow(Policy.pattern(text)))

const allows = (patterns: ReadonlyArray<Policy.Pattern>, command: string) =>
  Policy.allows(patterns, Policy.words(command))

/** Asserts which commands the patterns allow, and which they deny. */
const judge = (
  patterns: ReadonlyArray<Policy.Pattern>,
  { allowed, denied }: { readonly [verdict in "allowed" | "denied"]: ReadonlyArray<string> }
) => {
  for (const command of allowed) assert.isTrue(allows(patterns, command), command)
  for (const command of denied) assert.isFalse(allows(patterns, command), command)
}

describe("Policy", () => {
  it("allows the commands that a pattern matches, and no others", () => {
    judge(policy("uptime", "df -h", "systemctl restart app-*", "cat /var/log/*", "backup --to=*", "seq * *"), {
      allowed: [
        "uptime",
        " uptime ",
        "df  -h",
        "systemctl restart app-1",
        "systemctl restart app-web.service",
        "cat /var/log/syslog",
        "cat /var/log/a..b",
        "backup --to=x",
        "backup --to=-x",
        "seq 1 10"
      ],
      denied: [
        "",
        " ",
        "UPTIME",
        "uptime -p",
        "uptimes",
        "./uptime",
        "/usr/bin/uptime",
        "df",
        "df -h -h",
        "systemctl restart app-",
        "systemctl restart sshd",
        "systemctl stop app-1",
        "cat /var/log/",
        "cat /var/log/nginx/access.log",
        "cat /var/log/a /etc/shadow",
        "seq 1",
        "seq 1 2 3"
      ]
    })
  })

  it("keeps injections out of a *", () => {
    const patterns = policy("echo *", "cat /var/log/*", "git checkout release-*")
    const injections = [
      ";reboot",
      "a;reboot",
      "a&&reboot",
      "a|sh",
      "a&",
      "$(reboot)",
      "\u0024{HOME}",
      "$HOME",
      "`reboot`",
      "a\nreboot",
      "a\rreboot",
      "a\u0000b",
      "a\tb",
      "-rf",
      "--checkpoint-action=exec=sh",
      "-",
      "--",
      ".",
      "..",
      "../etc/passwd",
      "../../etc/shadow",
      "a/../../etc/shadow",
      "/etc/shadow",
      "~root",
      "*",
      "?",
      "[a-z]",
      "{a,b}",
      "'a'",
      '"a"',
      "a\\",
      "<a",
      ">a",
      "a#b",
      "!a",
      "a=b",
      "@a",
      "%n",
      // Look-alikes: Cyrillic a, full-width dot and slash, division slash, minus, non-breaking space, line separator.
      "\u0430",
      "\uff0e\uff0e",
      "\uff0fetc",
      "\u2215etc",
      "\u2212rf",
      "\u2010rf",
      "a\u00a0b",
      "a\u2028b",
      "a\u200bb",
      "\u202egnp.exe",
      "\ufeffa",
      "e\u0301",
      "\ud83d\ude00",
      "\ud800"
    ]
    for (const injection of injections) {
      for (const command of [`echo ${injection}`, `cat /var/log/${injection}`, `echo a ${injection}`]) {
        // A dash at the end of a path begins no option.
        if (command.startsWith("cat") && /^-[\w-]*$/.test(injection)) continue
        assert.isFalse(allows(patterns, command), JSON.stringify(command))
      }
    }
    assert.isFalse(allows(patterns, "git checkout release-1/../../main"))
    assert.isFalse(allows(policy("cat */x"), "cat ../x"))
    assert.isFalse(allows(policy("cat a/*b"), "cat a/..b/../x"))
    assert.isFalse(allows(policy("cat .*"), "cat .."))
  })

  it("matches slashes with **, but no way up", () => {
    judge(policy("cat /var/log/**", "cp ** **.bak", "tar --file=**-*.tgz", "less ./** ../*", "more *"), {
      allowed: [
        "cat /var/log/a",
        "cat /var/log/nginx/a.log",
        "cp a/b c/d.bak",
        "tar --file=a-b/c-d.tgz",
        "less ./a/b ../c",
        `more ${"x".repeat(4096)}`
      ],
      denied: [
        "cat /var/log/",
        "cat /var/log/../../etc/shadow",
        "cat /var/log/a/..",
        "cat /var/log/./a",
        "cat /var/log/a;b",
        "cat /etc/shadow",
        "cp -r x.bak",
        "cp /a/b x.bak",
        "less ./../a ../c",
        "less ./. ../c",
        "less ./a ../..",
        "less ./a /../c",
        `more ${"x".repeat(4097)}`,
        "cp a -x.bak",
        "cp a ../x.bak",
        "tar --file=../a-b.tgz"
      ]
    })
  })

  it("is quick with arguments that are made to take long", () => {
    const patterns = policy("x **-**-**", "y **/**/**/**/**", "z *a*a*a*a*b")
    const start = performance.now()
    for (const argument of ["-a", "a-", "/", "a/", "a"].map((part) => `a${part.repeat(65_000 / part.length)}!`)) {
      for (const length of [4096, argument.length]) {
        for (const command of ["x", "y", "z"]) {
          for (let time = 0; time < 10; time++) {
            assert.isFalse(allows(patterns, `${command} ${argument.slice(-length)}`))
          }
        }
      }
    }
    // 300 commands, 10 MB of them.
    assert.isBelow(performance.now() - start, 2000)
  })

  it("denies look-alikes of a command", () => {
    const patterns = policy("uptime", "df -h")
    for (const command of [
      "upt\u0456me",
      "uptime\u200b",
      "\ufeffuptime",
      "\uff55ptime",
      "uptime\u00a0",
      "df \u2212h",
      "df \u2013h"
    ]) {
      assert.isFalse(allows(patterns, command), JSON.stringify(command))
    }
  })

  it.prop(
    "matches any command of its own words, and with a * only plain arguments",
    [
      Schema.NonEmptyArray(Schema.String),
      Schema.Array(Schema.Union([Schema.String, Schema.Literals([".", "-", "a", "Z9_"])]))
    ],
    ([written, pieces]) => {
      const argv = written.map((word) => word.replace(/[ *\p{Cc}]/gu, "") || "x")
      assert.isTrue(allows(policy(argv.join(" ")), argv.join(" ")))
      const argument = pieces.join("")
      const plain = /^[A-Za-z0-9._][A-Za-z0-9._-]{0,4095}$/.test(argument) && argument !== "." && argument !== ".."
      assert.strictEqual(Policy.allows(policy("x *"), ["x", argument]), plain)
    },
    { arbitrary: { runs: 2000 } }
  )

  it("reports what is wrong with a pattern", () => {
    for (const [text, error] of [
      ["", "a pattern begins with a command, like uptime"],
      ["  ", "a pattern begins with a command, like uptime"],
      ["* -h", "name the command itself: * may stand in its arguments only"],
      ["/bin/* -h", "name the command itself: * may stand in its arguments only"],
      ["df\t-h", "a pattern has no control characters: separate words with spaces"]
    ] as const) {
      assert.deepStrictEqual(Policy.pattern(text), Result.fail(error))
    }
  })

  it("reads a file of patterns", () => {
    const read = Policy.file("# what ops may do\n\nuptime\r\n  df -h  \n  # not: rm *\n")
    assert.isTrue(Result.isSuccess(read))
    const patterns = Result.getOrThrow(read)
    assert.strictEqual(patterns.length, 2)
    assert.isTrue(allows(patterns, "df -h"))
    assert.deepStrictEqual(
      Policy.file("uptime\n\n*\n"),
      Result.fail("line 3: name the command itself: * may stand in its arguments only")
    )
  })
})
