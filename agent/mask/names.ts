// What a secret is called, and which programs take one where its name does not say so.

const named =
  /(?:^|[-_.])(?:password|passwd|passphrase|pass|pwd|secret|token|psk|credentials?|(?:api|access|secret|auth|private|encryption|signing|account|shared)[-_]?key)$/i;
const camel = /[a-z](?:Password|Passwd|Passphrase|Secret|Token|ApiKey|AccessKey|SecretKey|AuthKey|PrivateKey)$/;

/** Whether an option, variable, field or parameter of this name holds a secret. `--password-file` does not: it names a file. */
export const namesSecret = (name: string, more: ReadonlySet<string>): boolean =>
  named.test(name) || camel.test(name) || more.has(name.replace(/^-+/, "").toLowerCase());

export const headers: ReadonlySet<string> = new Set([
  ...[
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-auth-token",
    "x-auth-key",
    "x-vault-token",
    "private-token",
    "api-key",
    "apikey",
  ],
  ...["cookie", "set-cookie"],
]);

export type Takes = {
  /** Options whose next argument is a secret. */
  readonly next?: readonly string[];
  /** Options that a secret follows in the same argument. */
  readonly attached?: readonly string[];
  /** Options whose argument, next or attached, is a user with a secret after this character. */
  readonly user?: { readonly options: readonly string[]; readonly separator: string };
};

const mysql: Takes = { attached: ["-p"] };
const mosquitto: Takes = { next: ["-P"] };
const ldap: Takes = { next: ["-w"], attached: ["-w"] };
const curl: Takes = {
  user: { options: ["-u", "--user", "-U", "--proxy-user"], separator: ":" },
  next: ["-b", "--cookie", "--oauth2-bearer"],
};
const login: Takes = { next: ["-p"] };

/** By the name of the program. */
export const programs: Readonly<Record<string, Takes>> = {
  ...{
    mysql,
    mysqldump: mysql,
    mysqladmin: mysql,
    mysqlimport: mysql,
    mysqlcheck: mysql,
    mariadb: mysql,
    "mariadb-dump": mysql,
    "mariadb-admin": mysql,
  },
  sshpass: { next: ["-p"], attached: ["-p"] },
  ...{ curl, xh: { next: ["-a"] }, http: { next: ["-a"] }, https: { next: ["-a"] } },
  "redis-cli": { next: ["-a"] },
  ...{ mosquitto_pub: mosquitto, mosquitto_sub: mosquitto, mosquitto_rr: mosquitto },
  ...{ ldapsearch: ldap, ldapadd: ldap, ldapmodify: ldap, ldapdelete: ldap, ldappasswd: ldap, ldapwhoami: ldap },
  ...{
    smbclient: { user: { options: ["-U", "--user"], separator: "%" } },
    rpcclient: { user: { options: ["-U", "--user"], separator: "%" } },
  },
  lftp: { user: { options: ["-u", "--user"], separator: "," } },
  ...{ docker: login, podman: login, az: login, mongo: login, mongosh: login, mongodump: login, mongorestore: login, clickhouse: login },
  ...{
    zip: { next: ["-P"] },
    "7z": { attached: ["-p"] },
    "7za": { attached: ["-p"] },
    unzip: { next: ["-P"] },
    unrar: { attached: ["-p"] },
  },
  ...{ useradd: { next: ["-p"] }, usermod: { next: ["-p"] }, ipmitool: { next: ["-P"] }, xfreerdp: { attached: ["/p:"] } },
  nmcli: { next: ["wifi-sec.psk", "802-11-wireless-security.psk", "802-1x.password", "vpn.secrets", "password"] },
};
