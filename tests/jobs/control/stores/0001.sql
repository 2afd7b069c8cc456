BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE attempts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id INTEGER NOT NULL, 
	step VARCHAR(128) NOT NULL, 
	number INTEGER NOT NULL, 
	run INTEGER NOT NULL, 
	outcome VARCHAR(16) NOT NULL, 
	worker VARCHAR(128) NOT NULL, 
	host VARCHAR(256) NOT NULL, 
	started FLOAT NOT NULL, 
	ended FLOAT, 
	pid INTEGER, 
	pid_started VARCHAR(64), 
	batch_id VARCHAR(64), 
	directory TEXT NOT NULL, 
	log_path TEXT NOT NULL, 
	result JSON, 
	fault VARCHAR(16), 
	error_text TEXT, 
	superseded BOOLEAN NOT NULL, 
	FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE, 
	UNIQUE (job_id, step, number)
);
INSERT INTO "attempts" VALUES(1,1,'only',1,1,'done','w1','here',1700000000.0,1700000000.0,NULL,NULL,NULL,'/nowhere/1/only.1','/nowhere/1/only.1.log','{"n": 1}',NULL,NULL,0);
INSERT INTO "attempts" VALUES(2,2,'only',1,1,'failed','w1','here',1700000000.0,1700000000.0,NULL,NULL,NULL,'/nowhere/2/only.1','/nowhere/2/only.1.log',NULL,'exit','birli ended with exit code 1',0);
INSERT INTO "attempts" VALUES(3,4,'only',1,1,'done','w1','here',1700000000.0,1700000000.0,NULL,NULL,NULL,'/nowhere/4/only.1','/nowhere/4/only.1.log','{"n": 4}',NULL,NULL,0);
INSERT INTO "attempts" VALUES(4,6,'only',1,1,'done','w1','here',1700000000.0,1700000000.0,NULL,NULL,NULL,'/nowhere/6/only.1','/nowhere/6/only.1.log','{"n": 6}',NULL,NULL,0);
CREATE TABLE events (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at FLOAT NOT NULL, 
	happening VARCHAR(32) NOT NULL, 
	job_id INTEGER, 
	owner VARCHAR(128), 
	state VARCHAR(16), 
	step VARCHAR(128), 
	data JSON NOT NULL
);
INSERT INTO "events" VALUES(1,1700000000.0,'user-changed',NULL,NULL,NULL,NULL,'{"user": "debug", "role": "approve"}');
INSERT INTO "events" VALUES(2,1700000000.0,'submitted',1,'ann','queued',NULL,'{"kind": "try", "name": null}');
INSERT INTO "events" VALUES(3,1700000000.0,'started',1,'ann','running',NULL,'{"worker": "w1", "run": 1}');
INSERT INTO "events" VALUES(4,1700000000.0,'step-started',1,'ann','running','only','{"attempt": 1}');
INSERT INTO "events" VALUES(5,1700000000.0,'step-ended',1,'ann','running','only','{"outcome": "done", "attempt": 1}');
INSERT INTO "events" VALUES(6,1700000000.0,'completed',1,'ann','completed','only','{"fault": null, "text": null}');
INSERT INTO "events" VALUES(7,1700000000.0,'submitted',2,'ann','queued',NULL,'{"kind": "try", "name": null}');
INSERT INTO "events" VALUES(8,1700000000.0,'started',2,'ann','running',NULL,'{"worker": "w1", "run": 1}');
INSERT INTO "events" VALUES(9,1700000000.0,'step-started',2,'ann','running','only','{"attempt": 1}');
INSERT INTO "events" VALUES(10,1700000000.0,'step-ended',2,'ann','running','only','{"outcome": "failed", "attempt": 1, "text": "birli ended with exit code 1"}');
INSERT INTO "events" VALUES(11,1700000000.0,'failed',2,'ann','failed','only','{"fault": "exit", "text": "birli ended with exit code 1"}');
INSERT INTO "events" VALUES(12,1700000000.0,'submitted',3,'ann','queued',NULL,'{"kind": "try", "name": null}');
INSERT INTO "events" VALUES(13,1700000000.0,'cancelled',3,'ann','cancelled',NULL,'{"by": "ann", "why": ""}');
INSERT INTO "events" VALUES(14,1700000000.0,'submitted',4,'ann','queued',NULL,'{"kind": "try", "name": null}');
INSERT INTO "events" VALUES(15,1700000000.0,'started',4,'ann','running',NULL,'{"worker": "w1", "run": 1}');
INSERT INTO "events" VALUES(16,1700000000.0,'step-started',4,'ann','running','only','{"attempt": 1}');
INSERT INTO "events" VALUES(17,1700000000.0,'step-ended',4,'ann','running','only','{"outcome": "done", "attempt": 1}');
INSERT INTO "events" VALUES(18,1700000000.0,'completed',4,'ann','completed','only','{"fault": null, "text": null}');
INSERT INTO "events" VALUES(19,1700000000.0,'expired',4,'ann','expired','only','{}');
INSERT INTO "events" VALUES(20,1700000000.0,'submitted',5,'ann','queued',NULL,'{"kind": "try", "name": null}');
INSERT INTO "events" VALUES(21,1700000000.0,'submitted',6,'ann','queued',NULL,'{"kind": "try", "name": "waiting"}');
INSERT INTO "events" VALUES(22,1700000000.0,'started',6,'ann','running',NULL,'{"worker": "w1", "run": 1}');
INSERT INTO "events" VALUES(23,1700000000.0,'step-started',6,'ann','running','only','{"attempt": 1}');
INSERT INTO "events" VALUES(24,1700000000.0,'step-ended',6,'ann','running','only','{"outcome": "done", "attempt": 1}');
INSERT INTO "events" VALUES(25,1700000000.0,'gate-opened',6,'ann','waiting','qa','{"answers": ["pass", "fail"]}');
CREATE TABLE gates (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id INTEGER NOT NULL, 
	gate VARCHAR(128) NOT NULL, 
	answers JSON NOT NULL, 
	stops JSON NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	opened FLOAT NOT NULL, 
	answer VARCHAR(64), 
	decided_by VARCHAR(128), 
	decided FLOAT, 
	why TEXT, 
	superseded BOOLEAN NOT NULL, 
	FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "gates" VALUES(1,6,'qa','["pass", "fail"]','["fail"]','approve',1700000000.0,NULL,NULL,NULL,NULL,0);
CREATE TABLE jobs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	token VARCHAR(32) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	owner VARCHAR(128) NOT NULL, 
	name VARCHAR(256), 
	given JSON NOT NULL, 
	canonical JSON NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	step VARCHAR(128), 
	progress FLOAT NOT NULL, 
	progress_text TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	estimate_memory BIGINT, 
	estimate_time_s FLOAT, 
	estimate_output BIGINT, 
	fault VARCHAR(16), 
	error_text TEXT, 
	run INTEGER NOT NULL, 
	worker VARCHAR(128), 
	cancel_requested BOOLEAN NOT NULL, 
	hidden BOOLEAN NOT NULL, 
	created FLOAT NOT NULL, 
	started FLOAT, 
	finished FLOAT, 
	expires FLOAT, 
	UNIQUE (name), 
	UNIQUE (token)
);
INSERT INTO "jobs" VALUES(1,'b619a49366c760d8271226845ecb0110','try','ann',NULL,'{}','{"number": 1}','e6e473fa7e40ddd1d9efb1f2d5ec007559c2578e3948d617ea1088c6d48894fc','completed','only',1.0,'',0,NULL,NULL,NULL,NULL,NULL,1,NULL,0,0,1700000000.0,1700000000.0,1700000000.0,1800000000.0);
INSERT INTO "jobs" VALUES(2,'a3220800985a4638ced18d7563825b39','try','ann',NULL,'{}','{"number": 2}','ad8330134a2873bf639214b21fa13247f1417a4469454cb1840c7a82da3f2169','failed','only',0.0,'',0,NULL,NULL,NULL,'exit','birli ended with exit code 1',1,NULL,0,0,1700000000.0,1700000000.0,1700000000.0,NULL);
INSERT INTO "jobs" VALUES(3,'c9263c4d56b99545e3ef292bca9531c3','try','ann',NULL,'{}','{"number": 3}','7896ce1046b4bc7e3317b9c0b286fef8df533bd3112141858913fc730889d99d','cancelled',NULL,0.0,'',0,NULL,NULL,NULL,NULL,NULL,2,NULL,0,0,1700000000.0,NULL,1700000000.0,NULL);
INSERT INTO "jobs" VALUES(4,'d8c33e875fdf70a06b44e5f2ff570550','try','ann',NULL,'{}','{"number": 4}','a19b9f1520c23d1ae0d1d777879869c1f3dbd9ed6a6692fe74426d01ba4338fb','expired','only',1.0,'',0,NULL,NULL,NULL,NULL,NULL,1,NULL,0,0,1700000000.0,1700000000.0,1700000000.0,NULL);
INSERT INTO "jobs" VALUES(5,'3ec26788e78b87ec5bb5bf1154a70a32','try','ann',NULL,'{}','{"number": 5}','bf3cedac890e46202c02f581b1b946b783552e928b56a3b97f8219d3c371d706','queued',NULL,0.0,'',0,NULL,NULL,NULL,NULL,NULL,1,NULL,0,0,1700000000.0,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(6,'83fe762b453bd5a02e6f53133758a2e4','try','ann','waiting','{}','{"number": 6}','5af77eef4978e5bb8114a35906637cb25af87eb95773317e2dd4e262fb2838fd','waiting','qa',0.0,'',0,NULL,NULL,NULL,NULL,NULL,1,NULL,0,0,1700000000.0,1700000000.0,NULL,NULL);
CREATE TABLE outbox (
	"key" VARCHAR(512) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	payload JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	job_id INTEGER, 
	created FLOAT NOT NULL, 
	sent FLOAT, 
	tries INTEGER NOT NULL, 
	answer TEXT, 
	sender VARCHAR(128), 
	PRIMARY KEY ("key")
);
INSERT INTO "outbox" VALUES('1/mail/','mail','{"to": "ann"}','pending',1,1700000000.0,NULL,0,NULL,NULL);
CREATE TABLE products (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	sha1 VARCHAR(40), 
	sha256 VARCHAR(64), 
	expires FLOAT, 
	details JSON NOT NULL, 
	removed FLOAT, 
	FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "products" VALUES(1,1,'/nowhere/1.tar',5,'0000000000000000000000000000000000000000','0000000000000000000000000000000000000000000000000000000000000000',1800000000.0,'{}',NULL);
INSERT INTO "products" VALUES(2,4,'/nowhere/4.tar',5,NULL,NULL,NULL,'{}',1700000000.0);
CREATE TABLE switches (
	name VARCHAR(64) NOT NULL, 
	value VARCHAR(64) NOT NULL, 
	until FLOAT, 
	PRIMARY KEY (name)
);
CREATE TABLE users (
	name VARCHAR(128) NOT NULL, 
	key_id VARCHAR(16) NOT NULL, 
	salt VARCHAR(32) NOT NULL, 
	hash VARCHAR(128) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	quota_running INTEGER, 
	quota_queued INTEGER, 
	quota_disk BIGINT, 
	created FLOAT NOT NULL, 
	revoked FLOAT, 
	details JSON NOT NULL, 
	PRIMARY KEY (name), 
	UNIQUE (key_id)
);
INSERT INTO "users" VALUES('debug','38cae2465502','c064a689e8071d50b2018bb3890189f0','47df92bf8b4e41c41a9452837c48c42a553afc1ce9c8bd9038396998a5613661bbde6e0885f6f79b416c28ce78d1f52741ef7bf7e6936331ab5a04041f08c926','approve',2,10,1000000000,1700000000.0,NULL,'{"group": "mwasci"}');
CREATE TABLE workers (
	id VARCHAR(128) NOT NULL, 
	host VARCHAR(256) NOT NULL, 
	pid INTEGER NOT NULL, 
	pid_started VARCHAR(64) NOT NULL, 
	beats INTEGER NOT NULL, 
	started FLOAT NOT NULL, 
	seen FLOAT NOT NULL, 
	alive BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_events_job_id ON events (job_id);
CREATE INDEX jobs_digest ON jobs (digest);
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_queue ON jobs (state, priority DESC, id);
CREATE INDEX ix_outbox_state ON outbox (state);
CREATE INDEX ix_gates_job_id ON gates (job_id);
CREATE INDEX ix_products_expires ON products (expires);
CREATE INDEX ix_products_job_id ON products (job_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',25);
INSERT INTO "sqlite_sequence" VALUES('jobs',6);
INSERT INTO "sqlite_sequence" VALUES('attempts',4);
INSERT INTO "sqlite_sequence" VALUES('products',2);
INSERT INTO "sqlite_sequence" VALUES('gates',1);
COMMIT;
