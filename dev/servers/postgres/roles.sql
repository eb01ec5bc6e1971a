-- Run by the administrator, as often as one likes.
SELECT 'CREATE ROLE outflow' WHERE to_regrole('outflow') IS NULL \gexec
ALTER ROLE outflow LOGIN REPLICATION CREATEDB PASSWORD 'outflow-dev-password';

SELECT 'CREATE ROLE outflow_cert LOGIN' WHERE to_regrole('outflow_cert') IS NULL \gexec

SELECT 'CREATE DATABASE outflow OWNER outflow'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'outflow') \gexec
